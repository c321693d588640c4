"""Folds what stands around a binary layer into its scale, bias and threshold, so that one operator does it all.

After it: batch normalization, and products, quotients, sums and differences with a constant for each channel. Before
it: a constant added or subtracted, where the threshold is 0, since x - c < 0 is exactly x < c in floating point.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgeml.export.graph_values import GraphValues
from edgeml.ops import binary_conv, binary_dense
from edgeml.ops.domain import DOMAIN

if TYPE_CHECKING:
    import onnx

Vector = npt.NDArray[np.float64]
_FOLDED = frozenset({binary_conv.NAME, binary_dense.NAME})
_THRESHOLD, _SCALE, _BIAS = 2, 3, 4  # positions among the inputs


@dataclass(frozen=True)
class _Affine:
    """y = factor * x + added, one value for each channel or one for all."""

    factor: Vector
    added: Vector


def fold_binary(model: onnx.ModelProto) -> None:
    """Fold what can be folded into BinaryConv and BinaryDense; in place. Left-over constants stay in the graph."""
    for _ in range(len(model.graph.node)):  # each walk but the last folds one node or more
        if not _fold_once(model.graph):
            return


def _fold_once(graph: onnx.GraphProto) -> bool:
    """Whether anything was folded in one walk along the graph."""
    values = GraphValues(graph)
    readers = {name: node for node in graph.node for name in node.input}
    folded = False
    gone: set[str] = set()  # outputs of nodes that are no longer needed
    for node in graph.node:
        if node.domain != DOMAIN or node.op_type not in _FOLDED or len(node.input) != 5 or not node.output:
            continue
        before = node.input[0]
        # What others read too must be computed anyway; kept in one, a shortcut and the signs share a tensor.
        if before not in gone and values.readers[before] == 1 and _fold_before(graph, values, node):
            folded = True
            gone.add(before)
        after = readers.get(node.output[0])
        if after is not None and values.readers[node.output[0]] == 1 and _fold_after(graph, values, node, after):
            gone.add(after.output[0])
            folded = True
    kept = [node for node in graph.node if node.domain == DOMAIN or not gone & set(node.output)]
    del graph.node[:]
    graph.node.extend(kept)
    return folded


def _fold_after(graph: onnx.GraphProto, values: GraphValues, node: onnx.NodeProto, after: onnx.NodeProto) -> bool:
    scale, bias = values.constant(node.input[_SCALE]), values.constant(node.input[_BIAS])
    if scale is None or bias is None or scale.ndim != 1 or scale.shape != bias.shape:
        return False
    with np.errstate(all="ignore"):  # what is not finite stays unfolded
        affine = _affine(values, node, after)
        if affine is None or not {affine.factor.size, affine.added.size} <= {1, len(scale)}:
            return False
        new_scale = (affine.factor * scale).astype(np.float32)
        new_bias = (affine.factor * bias + affine.added).astype(np.float32)
    if not (np.isfinite(new_scale).all() and np.isfinite(new_bias).all()):
        return False
    _set(graph, values, node, _SCALE, "scale", new_scale)
    _set(graph, values, node, _BIAS, "bias", new_bias)
    node.output[0] = after.output[0]
    del node.metadata_props[:]  # the value is now the one that the later node made
    node.metadata_props.extend(after.metadata_props)
    return True


def _affine(values: GraphValues, node: onnx.NodeProto, after: onnx.NodeProto) -> _Affine | None:
    if after.domain not in {"", "ai.onnx"} or len(after.output) != 1:
        return None
    one, zero = np.ones(1), np.zeros(1)
    if after.op_type == "BatchNormalization":
        return _batch_norm(values, node, after)
    if after.op_type == "Neg":
        return _Affine(-one, zero)
    if after.op_type not in {"Mul", "Div", "Add", "Sub"} or len(after.input) != 2:
        return None
    first = after.input[0] == node.output[0]
    constant = _per_channel(values, node, after.input[1 if first else 0], node.output[0])
    if constant is None:
        return None
    if after.op_type == "Mul":
        return _Affine(constant, zero)
    if after.op_type == "Add":
        return _Affine(one, constant)
    if after.op_type == "Sub":
        return _Affine(one, -constant) if first else _Affine(-one, constant)
    return _Affine(1 / constant, zero) if first and constant.all() else None


def _batch_norm(values: GraphValues, node: onnx.NodeProto, norm: onnx.NodeProto) -> _Affine | None:
    settings = {entry.name: entry for entry in norm.attribute}
    if "training_mode" in settings and settings["training_mode"].i:
        return None
    if node.op_type == binary_dense.NAME and len(values.shape(node.output[0]) or ()) != 2:
        return None  # it normalizes axis 1, which is then not the features'
    constants = [constant for constant in map(values.constant, norm.input[1:]) if constant is not None]
    shapes = {constant.shape for constant in constants}
    if len(norm.input) != 5 or len(constants) != 4 or len(shapes) != 1 or constants[0].ndim != 1:
        return None
    gamma, beta, mean, variance = (np.asarray(constant, np.float64) for constant in constants)
    epsilon = settings["epsilon"].f if "epsilon" in settings else 1e-5
    factor = gamma / np.sqrt(variance + epsilon)
    return _Affine(factor, beta - mean * factor)


def _fold_before(graph: onnx.GraphProto, values: GraphValues, node: onnx.NodeProto) -> bool:
    threshold = values.constant(node.input[_THRESHOLD])
    before = values.makers.get(node.input[0])
    if threshold is None or threshold.ndim != 1 or threshold.any() or before is None:
        return False
    if before.op_type not in {"Add", "Sub"} or before.domain or len(before.input) != 2:
        return False
    constant_at = 1 if values.constant(before.input[1]) is not None else 0
    if before.op_type == "Sub" and constant_at == 0:
        return False
    source = before.input[1 - constant_at]
    constant = _per_channel(values, node, before.input[constant_at], source)
    if constant is None or constant.size not in {1, len(threshold)}:
        return False
    shape = values.shape(source)
    axis = -3 if node.op_type == binary_conv.NAME else -1
    if shape is None or len(shape) < -axis or shape[axis] != len(threshold):
        return False  # the constant may widen the value, not only shift it
    shifted = constant if before.op_type == "Sub" else -constant
    _set(graph, values, node, _THRESHOLD, "threshold", np.broadcast_to(shifted, len(threshold)).astype(np.float32))
    node.input[0] = source
    return True


def _per_channel(values: GraphValues, node: onnx.NodeProto, name: str, beside: str) -> Vector | None:
    """A constant with one value for each channel (of a convolution) or feature, or one for all; flattened.

    None where it is not of that kind, is not finite, or has more axes than the value `beside` it.
    """
    constant = values.constant(name)
    if constant is None or constant.dtype != np.float32 or not np.isfinite(constant).all():
        return None
    rank, axis = (4, 3) if node.op_type == binary_conv.NAME else (len(values.shape(beside) or (None,)), 1)
    if constant.ndim > rank or (constant.size != 1 and not _only_axis(constant.shape, axis)):
        return None
    return constant.reshape(-1).astype(np.float64)


def _only_axis(shape: Sequence[int], from_end: int) -> bool:
    return len(shape) >= from_end and all(
        size == 1 for position, size in enumerate(shape) if len(shape) - position != from_end
    )


def _set(
    graph: onnx.GraphProto, values: GraphValues, node: onnx.NodeProto, position: int, part: str, content: Any
) -> None:
    from onnx import numpy_helper

    name = values.unused(f"{node.name or node.output[0]}_{part}")
    graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(content), name))
    node.input[position] = name
