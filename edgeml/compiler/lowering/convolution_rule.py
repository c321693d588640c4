"""Convolutions: 1x1, depthwise, and with a window; in float32, or on codes where input and weights are quantized."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeml.compiler.kernels.convolution import Convolution
from edgeml.compiler.kernels.depthwise import Depthwise
from edgeml.compiler.kernels.pointwise import Pointwise
from edgeml.compiler.kernels.quantized_convolution import QuantizedConvolution
from edgeml.compiler.kernels.quantized_depthwise import QuantizedDepthwise
from edgeml.compiler.kernels.quantized_pointwise import QuantizedPointwise
from edgeml.compiler.kernels.vector import Vector
from edgeml.compiler.kernels.window import Axis
from edgeml.compiler.lowering.chain import Chain
from edgeml.compiler.lowering.gate import gate_of
from edgeml.compiler.lowering.graph import Array, Expr, Node
from edgeml.compiler.lowering.group import Group, Plan
from edgeml.compiler.lowering.pooling_rule import is_global_average
from edgeml.compiler.lowering.quantization import Coded, CodedWeights, coded_weights_of, dequantize_of
from edgeml.compiler.lowering.values import ImageShape, Values, constant, image_shape

# An image of so few channels is read as the model has it; packing it would take longer.
_PLANAR_CHANNELS = 4


@dataclass(frozen=True)
class _Layer:
    """One conv2d node as the kernels describe it."""

    node: Node
    source: Expr
    image: ImageShape
    weights: Array
    rows: Axis
    columns: Axis
    groups: int

    @property
    def channels_out(self) -> int:
        return int(self.weights.shape[0])

    @property
    def is_pointwise(self) -> bool:
        """Whether every output pixel depends on one input pixel, in order."""
        return self.groups == 1 and all(
            (axis.taps, axis.stride, axis.pad_begin, axis.pad_end) == (1, 1, 0, 0) for axis in (self.rows, self.columns)
        )

    @property
    def is_depthwise(self) -> bool:
        return self.groups == self.image.channels == self.channels_out and self.groups > 1


def convolution(plan: Plan, node: Node) -> Group | None:
    """The group of a conv2d node; None where its weights are no constants or its size is unknown."""
    layer = _layer(plan, node)
    if layer is None:
        return None
    chain = plan.chain(node)
    coded = dequantize_of(plan.graph, layer.source)
    codes = coded_weights_of(plan.graph, node.arguments[1], 0)
    if coded is not None and codes is not None:
        return _quantized(plan, layer, chain, coded, codes)
    return _float(plan, layer, chain)


def _layer(plan: Plan, node: Node) -> _Layer | None:
    source, weights = node.arguments[0], plan.graph.constant(node.arguments[1])
    image, attributes = image_shape(source), node.attributes
    if weights is None or weights.dtype != np.float32 or image is None or len(image.pixels) != 2:
        return None
    if str(attributes.data_layout) != "NCHW" or str(attributes.kernel_layout) != "OIHW":
        return None
    top, left, bottom, right = (int(value) for value in attributes.padding)
    axes = [
        Axis(size_in=size, taps=taps, stride=int(stride), pad_begin=begin, pad_end=end, dilation=int(dilation))
        for size, taps, stride, begin, end, dilation in zip(
            image.pixels,
            weights.shape[2:],
            attributes.strides,
            (top, left),
            (bottom, right),
            attributes.dilation,
            strict=True,
        )
    ]
    return _Layer(node, source, image, weights, axes[0], axes[1], int(attributes.groups))


def _with_whole_vectors(plan: Plan, layer: _Layer, weights: Array) -> tuple[int, Array]:
    """Groups merged until the output channels of each fill whole vectors, zeros where they did not see each other.

    Args:
        plan: tells the vector unit.
        layer: the convolution.
        weights: (channels_out, channels_in / groups, height, width), float32 or int8.

    Returns:
        The number of merged groups, and their weights.
    """
    lanes, groups = Vector(plan.isa).lanes, layer.groups
    per_group, depth = layer.channels_out // groups, weights.shape[1]
    fits = (m for m in range(1, groups) if groups % m == 0 and per_group * m % lanes == 0)
    merged = 1 if groups == 1 else next(fits, groups)
    full = np.zeros((layer.channels_out, depth * merged, *weights.shape[2:]), weights.dtype)
    for group in range(groups):
        rows, column = slice(group * per_group, (group + 1) * per_group), group % merged * depth
        full[rows, column : column + depth] = weights[rows]
    return groups // merged, full


def _float(plan: Plan, layer: _Layer, chain: Chain) -> Group:
    weights = layer.weights
    if chain.scale is not None:
        weights = weights * chain.scale.reshape(-1, 1, 1, 1)
    common: dict[str, Any] = {"isa": plan.isa, "batch": layer.image.samples, "epilogue": chain.epilogue}
    channels: dict[str, Any] = {"channels_in": layer.image.channels, "channels_out": layer.channels_out}
    nodes = [layer.node, *chain.absorbed]
    if layer.is_pointwise:
        gate = gate_of(plan, layer.source, layer.node)
        source = layer.source if gate is None else gate.value
        kernel = Pointwise(pixels=layer.image.count, gated=gate is not None, **channels, **common)
        packed = kernel.pack(weights.reshape(layer.channels_out, -1), chain.bias)
        if gate is not None:
            nodes = [gate.node, *nodes]

        def emit(values: Values) -> None:
            gates = [] if gate is None else [values.packed(gate.gate)]
            arguments = [values.packed(source), *map(constant, packed), *gates, *map(values.operand, chain.operands)]
            values.set_packed(chain.var, values.call(kernel.kernel(), arguments, layer.image))

        name = "pointwise" if layer.image.count > 1 else "dense"
        return Group(name, "fp32", nodes[-1], tuple(nodes), emit)
    if layer.is_depthwise:
        return _float_depthwise(plan, layer, chain, weights, common)
    planar = layer.image.channels <= _PLANAR_CHANNELS and plan.graph.producer(layer.source) is None
    groups, weights = _with_whole_vectors(plan, layer, weights)
    windowed = Convolution(rows=layer.rows, columns=layer.columns, groups=groups, planar=planar, **channels, **common)
    arrays = windowed.pack(weights, chain.bias)

    def emit_windowed(values: Values) -> None:
        source = values.model(layer.source) if planar else values.packed(layer.source)
        arguments = [source, *map(constant, arrays), *map(values.operand, chain.operands)]
        values.set_packed(chain.var, values.call(windowed.kernel(), arguments, layer.image))

    return Group("convolution", "fp32", nodes[-1], tuple(nodes), emit_windowed)


def _float_depthwise(plan: Plan, layer: _Layer, chain: Chain, weights: Array, common: dict[str, Any]) -> Group:
    mean = _mean_of(plan, chain)
    kernel = Depthwise(
        rows=layer.rows, columns=layer.columns, channels=layer.image.channels, pooled=mean is not None, **common
    )
    packed = kernel.pack(weights, chain.bias)

    def emit(values: Values) -> None:
        arguments = [values.packed(layer.source), *map(constant, packed), *map(values.operand, chain.operands)]
        result = values.call(kernel.kernel(), arguments, layer.image)
        if mean is None:
            values.set_packed(chain.var, result)
        else:
            values.set_packed(chain.var, result[0])
            values.set_packed(mean.var, result[1])

    nodes = (layer.node, *chain.absorbed)
    return Group("depthwise", "fp32", nodes[-1], nodes if mean is None else (*nodes, mean), emit)


def _mean_of(plan: Plan, chain: Chain) -> Node | None:
    """The node that takes the mean of the chain's value over its pixels, which the kernel can do as it goes."""
    if chain.output is not None:
        return None
    users = [user for user in plan.graph.users(chain.var) if is_global_average(user) and user not in plan.taken]
    return users[0] if users else None


def _quantized(plan: Plan, layer: _Layer, chain: Chain, coded: Coded, codes: CodedWeights) -> Group:
    scales = codes.scales if chain.scale is None else codes.scales * chain.scale
    common: dict[str, Any] = {
        "isa": plan.isa,
        "batch": layer.image.samples,
        "epilogue": chain.epilogue,
        "source": coded.quantization,
    }
    channels: dict[str, Any] = {"channels_in": layer.image.channels, "channels_out": layer.channels_out}
    kernel: QuantizedPointwise | QuantizedDepthwise | QuantizedConvolution
    weights = codes.codes
    if layer.is_pointwise:
        name, weights = "pointwise", weights.reshape(layer.channels_out, -1)
        kernel = QuantizedPointwise(pixels=layer.image.count, **channels, **common)
    elif layer.is_depthwise:
        name = "depthwise"
        kernel = QuantizedDepthwise(rows=layer.rows, columns=layer.columns, channels=layer.image.channels, **common)
    else:
        name = "convolution"
        groups, weights = _with_whole_vectors(plan, layer, weights)
        kernel = QuantizedConvolution(rows=layer.rows, columns=layer.columns, groups=groups, **channels, **common)
    packed = kernel.pack(weights, scales, chain.bias)

    def emit(values: Values) -> None:
        arguments = [values.packed(coded.codes), *map(constant, packed), *map(values.operand, chain.operands)]
        values.set_packed(chain.var, values.call(kernel.kernel(), arguments, layer.image))

    nodes = (layer.node, *chain.absorbed)
    return Group(name, "int8", nodes[-1], nodes, emit)
