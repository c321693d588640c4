"""Finds convolutions and matrix products of signs with signs in a graph of standard operators, and makes them binary.

A layer is binary where its input is Where(Less(x, threshold), -s, s) and every row of its constant weights is one
magnitude with changing signs. Then it becomes BinaryConv or BinaryDense, which hold a weight in one bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgeml.export.graph_values import GraphValues
from edgeml.export.sign_pattern import Signs, find_signs
from edgeml.ops import binary_conv, binary_dense
from edgeml.ops.bits import pack_signs
from edgeml.ops.body import FIRST_OPSET

if TYPE_CHECKING:
    import onnx

_LAYERS = frozenset({"Conv", "Gemm", "MatMul"})


@dataclass(frozen=True)
class _Layer:
    """A layer that reads signs.

    Attributes:
        signs: its input.
        rows: its weights, (filters, K).
        bias: one value, or one for each filter.
        inputs: channels or features of the input.
        factor: of the product.
        kernel: of a convolution, height and width.
    """

    signs: Signs
    rows: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]
    inputs: int
    factor: float = 1.0
    kernel: tuple[int, ...] = ()


def use_binary_operators(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with BinaryConv and BinaryDense in place of the layers that are binary; itself where there are none.

    A graph older than opset 18 is brought up to it first; where ONNX's converter cannot, it stays as it is.
    """
    values = GraphValues(model.graph)
    if not any(_layer(values, node) for node in model.graph.node):
        return model
    opset = max((entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"}), default=0)
    if opset < FIRST_OPSET:
        converted = _newer(model)
        if converted is None:
            return model
        model = converted
        values = GraphValues(model.graph)
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        layer = _layer(values, node)
        nodes.append(node if layer is None else _binary(model.graph, values, node, layer))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def _newer(model: onnx.ModelProto) -> onnx.ModelProto | None:
    from onnx import checker, shape_inference, version_converter

    if model.functions:
        return None  # the converter drops them
    try:
        return version_converter.convert_version(model, FIRST_OPSET)
    except (RuntimeError, version_converter.ConvertError, checker.ValidationError, shape_inference.InferenceError):
        return None


def _layer(values: GraphValues, node: onnx.NodeProto) -> _Layer | None:
    if (
        node.op_type not in _LAYERS
        or node.domain not in {"", "ai.onnx"}
        or len(node.input) < 2
        or len(node.output) != 1
    ):
        return None
    signs = find_signs(values, node.input[0])
    weights = values.constant(node.input[1]) if signs is not None else None
    if signs is None or weights is None or weights.dtype != np.float32:
        return None
    bias = values.constant(node.input[2]) if len(node.input) > 2 and node.input[2] else np.zeros(1, np.float32)
    made = None if bias is None else (_conv if node.op_type == "Conv" else _dense)(node, signs, weights, bias)
    if made is None or not _binary_rows(made.rows) or not np.isfinite(made.bias).all():
        return None
    return made


def _conv(node: onnx.NodeProto, signs: Signs, weights: npt.NDArray[Any], bias: npt.NDArray[Any]) -> _Layer | None:
    attributes = _attributes(node)
    if weights.ndim != 4 or attributes.get("auto_pad", b"NOTSET") not in {b"NOTSET", b"VALID"}:
        return None
    channels = weights.shape[1] * attributes.get("group", 1)
    if not _fits_channels(signs.threshold, channels) or bias.shape not in {(1,), (len(weights),)}:
        return None
    if any(not _alike(attributes.get(name, value), value) for name, value in binary_conv.DEFAULTS.items()):
        return None
    return _Layer(signs, weights.reshape(len(weights), -1), bias, channels, kernel=weights.shape[2:])


def _fits_channels(threshold: npt.NDArray[np.float32], channels: int) -> bool:
    return threshold.size == 1 or (1,) * (4 - threshold.ndim) + threshold.shape == (1, channels, 1, 1)


def _alike(value: Any, default: int | tuple[int, ...]) -> bool:
    """Whether an attribute has the form that ONNX gives it for two axes."""
    if isinstance(default, int):
        return isinstance(value, int)
    return not isinstance(value, int | float | bytes) and len(value) == len(default)


def _dense(node: onnx.NodeProto, signs: Signs, weights: npt.NDArray[Any], bias: npt.NDArray[Any]) -> _Layer | None:
    attributes = _attributes(node)
    if weights.ndim != 2 or attributes.get("transA", 0) or signs.threshold.ndim > 1:
        return None
    rows = weights if attributes.get("transB", 0) else weights.T
    if signs.threshold.size not in {1, rows.shape[1]} or bias.size not in {1, len(rows)}:
        return None
    if bias.ndim > 1 and len(bias) != 1:
        return None
    added = np.float32(attributes.get("beta", 1.0)) * bias.reshape(-1)
    return _Layer(signs, rows, added, rows.shape[1], factor=attributes.get("alpha", 1.0))


def _binary_rows(rows: npt.NDArray[np.float32]) -> bool:
    magnitudes = np.abs(rows)
    return rows.size > 0 and bool((magnitudes == magnitudes[:, :1]).all() and np.isfinite(magnitudes[:, 0]).all())


def _binary(graph: onnx.GraphProto, values: GraphValues, node: onnx.NodeProto, layer: _Layer) -> onnx.NodeProto:
    from onnx import numpy_helper

    scale = layer.factor * layer.signs.scale * np.abs(layer.rows[:, 0]).astype(np.float64)
    tensors = {
        "W": pack_signs(layer.rows),
        "threshold": np.broadcast_to(layer.signs.threshold.reshape(-1), layer.inputs),
        "scale": scale.astype(np.float32),
        "bias": np.broadcast_to(layer.bias, len(layer.rows)).astype(np.float32),
    }
    names = [values.unused(f"{node.output[0]}_{part}") for part in tensors]
    for name, tensor in zip(names, tensors.values(), strict=True):
        graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(tensor), name))
    if layer.kernel:
        attributes = _attributes(node)
        settings: dict[str, Any] = {name: attributes.get(name, value) for name, value in binary_conv.DEFAULTS.items()}
        settings |= {"kernel_shape": layer.kernel, "channels": layer.inputs}
        binary = binary_conv.node([layer.signs.source, *names], node.output[0], name=node.name, **settings)
    else:
        binary = binary_dense.node([layer.signs.source, *names], node.output[0], name=node.name, features=layer.inputs)
    binary.metadata_props.extend(node.metadata_props)
    return binary


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    from onnx import helper

    return {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
