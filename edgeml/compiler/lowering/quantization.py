"""Reads QuantizeLinear and DequantizeLinear pairs: which tensor holds the codes, and what they stand for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt

from edgeml.compiler.kernels.epilogue import Quantization
from edgeml.compiler.lowering.graph import Array, Expr, Graph, Node, dtype_of


@dataclass(frozen=True)
class Coded:
    """A real tensor that is given by codes.

    Attributes:
        codes: the variable that holds the codes.
        quantization: what they stand for.
        node: the node that would compute the real values.
    """

    codes: Expr
    quantization: Quantization
    node: Node


@dataclass(frozen=True)
class CodedWeights:
    """Constant weights as 8-bit codes with zero point 0.

    Attributes:
        codes: int8, in the model's order.
        scales: float32 (output channels,).
    """

    codes: npt.NDArray[np.int8]
    scales: npt.NDArray[np.float32]


def dequantize_of(graph: Graph, expr: Expr) -> Coded | None:
    """The codes behind a real tensor that a dequantize node with one constant scale computes."""
    node = graph.producer(expr)
    if node is None or node.operator != "dequantize" or graph.constant(node.arguments[0]) is not None:
        return None
    quantization = _quantization(graph, node, dtype_of(node.arguments[0]))
    return None if quantization is None else Coded(node.arguments[0], quantization, node)


def quantize_of(graph: Graph, node: Node) -> Quantization | None:
    """The code that a quantize node with one constant scale writes."""
    return _quantization(graph, node, dtype_of(node.var)) if node.operator == "quantize" else None


def coded_weights_of(graph: Graph, expr: Expr, channel_axis: int) -> CodedWeights | None:
    """Constant int8 weights with symmetric codes, one scale for all or one for each output channel."""
    axis = channel_axis
    node = graph.producer(expr)
    transposed = False
    if node is not None and node.operator == "permute_dims" and graph.constant(node.var) is not None:
        transposed, node, axis = True, graph.producer(node.arguments[0]), 1 - channel_axis
    if node is None or node.operator != "dequantize":
        return None
    codes, scale, zero_point = (graph.constant(argument) for argument in node.arguments[:3])
    if codes is None or scale is None or zero_point is None or codes.dtype != np.int8 or np.any(zero_point):
        return None
    if scale.size > 1 and int(node.attributes.axis) % codes.ndim != axis:
        return None
    codes = codes.transpose() if transposed else codes
    scales = np.broadcast_to(scale.reshape(-1), (codes.shape[channel_axis],)).astype(np.float32)
    return CodedWeights(codes, scales)


def _quantization(graph: Graph, node: Node, dtype: str) -> Quantization | None:
    scale, zero_point = graph.constant(node.arguments[1]), graph.constant(node.arguments[2])
    if dtype not in {"uint8", "int8"} or not _is_scalar(scale) or not _is_scalar(zero_point):
        return None
    zero = int(cast("Array", zero_point).reshape(()))
    return Quantization(float(cast("Array", scale).reshape(())), zero, cast("object", dtype))  # type: ignore[arg-type]


def _is_scalar(value: Array | None) -> bool:
    return value is not None and value.size == 1
