"""Finds what a packed binary convolution can do in one pass: the convolution and the float operators after it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from edgeml.ops.binary_conv import INPUTS
from edgeml.ops.binary_conv import NAME as BINARY_CONV
from edgeml.ops.domain import DOMAIN
from edgeml.runtime.plugin.fusion.graph import Array, Graph, attributes

if TYPE_CHECKING:
    import onnx

_BLOCK = 16  # output channels that the kernels compute together


@dataclass
class Layer:
    """One convolution and what follows it, in the order in which it is computed.

    Attributes:
        conv: the BinaryConv node.
        out_channels: its filters.
        output: the tensor that all of it gives, in the model's own layout (batch, channels, height, width).
        nodes: the nodes it stands for, the convolution first.
        slope: float32 (channels): negative values are multiplied by it.
        post_scale, post_bias: float32 (channels): applied next.
        residual: the tensor that is added next.
        shift_in, residual_slope, shift_out: float32 (channels): RPReLU of the sum (Liu et al., ReActNet, 2020).
    """

    conv: onnx.NodeProto
    out_channels: int
    output: str
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    slope: Array | None = None
    post_scale: Array | None = None
    post_bias: Array | None = None
    residual: str | None = None
    shift_in: Array | None = None
    residual_slope: Array | None = None
    shift_out: Array | None = None

    @property
    def plain(self) -> bool:
        """Whether it is the convolution alone, whose signs follow from its counts."""
        return len(self.nodes) == 1


def find_layers(graph: Graph) -> list[Layer]:
    """The convolutions that can be packed, each with the operators after it that can join it."""
    layers = []
    for node in graph.nodes:
        if node.op_type == BINARY_CONV and node.domain == DOMAIN:
            layer = _layer(graph, node)
            if layer is not None:
                layers.append(layer)
    return layers


def _layer(graph: Graph, conv: onnx.NodeProto) -> Layer | None:
    constants = [graph.constant(name) for name in conv.input[1:]]
    if len(constants) != len(INPUTS) - 1 or any(constant is None for constant in constants):
        return None
    given, weights = attributes(conv), np.asarray(constants[0])
    if weights.ndim != 2 or len(weights) % _BLOCK or given.get("group", 1) != 1:
        return None
    filters = len(weights)
    layer = Layer(conv, filters, conv.output[0], [conv])
    _take_slope(graph, layer)
    _take_normalization(graph, layer)
    _take_residual(graph, layer)
    _take_shifted_slope(graph, layer)
    return layer


def _next(graph: Graph, tensor: str, operator: str) -> onnx.NodeProto | None:
    """The only reader of a tensor, where it is a standard operator of that name."""
    node = graph.only_reader(tensor)
    return node if node is not None and node.op_type == operator and node.domain in ("", "ai.onnx") else None


def _take(layer: Layer, node: onnx.NodeProto) -> None:
    layer.nodes.append(node)
    layer.output = node.output[0]


def _per_channel(graph: Graph, tensor: str, channels: int, *, normalization: bool = False) -> Array | None:
    """A constant as float32 (channels), where it is one for all pixels; None where it is not."""
    value = graph.constant(tensor)
    if value is None or value.dtype != np.float32:
        return None
    if normalization:
        return value if value.shape == (channels,) else None
    if value.size == 1 and value.ndim <= 4:
        return np.full(channels, value.reshape(()), np.float32)
    if value.shape[-3:] == (channels, 1, 1) and value.size == channels:
        return value.reshape(channels)
    return None


def _take_slope(graph: Graph, layer: Layer) -> None:
    relu = _next(graph, layer.output, "Relu")
    if relu is not None:
        layer.slope = np.zeros(layer.out_channels, np.float32)
        _take(layer, relu)
        return
    prelu = _next(graph, layer.output, "PRelu")
    if prelu is not None and prelu.input[0] == layer.output:
        layer.slope = _per_channel(graph, prelu.input[1], layer.out_channels)
        if layer.slope is not None:
            _take(layer, prelu)


def _take_normalization(graph: Graph, layer: Layer) -> None:
    node = _next(graph, layer.output, "BatchNormalization")
    if node is None or node.input[0] != layer.output or attributes(node).get("training_mode", 0):
        return
    constants = [_per_channel(graph, name, layer.out_channels, normalization=True) for name in node.input[1:]]
    if len(node.output) != 1 or len(constants) != 4 or any(constant is None for constant in constants):
        return
    scale, bias, mean, variance = (np.asarray(constant, np.float32) for constant in constants)
    layer.post_scale = scale / np.sqrt(variance + np.float32(attributes(node).get("epsilon", 1e-5)))
    layer.post_bias = bias - mean * layer.post_scale
    _take(layer, node)


def _take_residual(graph: Graph, layer: Layer) -> None:
    add = _next(graph, layer.output, "Add")
    if add is None or add.input[0] == add.input[1]:
        return
    other = add.input[1] if add.input[0] == layer.output else add.input[0]
    shape = graph.shape(layer.output)
    if graph.constant(other) is None and shape is not None and shape == graph.shape(other):
        layer.residual = other
        _take(layer, add)


def _take_shifted_slope(graph: Graph, layer: Layer) -> None:
    """RPReLU: Sub, PRelu, Add, each with a constant of one value a channel."""
    channels = layer.out_channels
    sub = _next(graph, layer.output, "Sub")
    prelu = None if sub is None or sub.input[0] != layer.output else _next(graph, sub.output[0], "PRelu")
    if sub is None or prelu is None or prelu.input[0] != sub.output[0]:
        return
    add = _next(graph, prelu.output[0], "Add")
    if add is None:
        return
    after = add.input[1] if add.input[0] == prelu.output[0] else add.input[0]
    values = [_per_channel(graph, name, channels) for name in (sub.input[1], prelu.input[1], after)]
    if any(value is None for value in values):
        return
    layer.shift_in, layer.residual_slope, layer.shift_out = values
    for node in (sub, prelu, add):
        _take(layer, node)
