"""Finds shortcuts that can be computed channels last: a 1x1 convolution, with a mean of pixels before it or without."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeml.runtime.plugin.fusion.graph import Array, Graph, attributes

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True)
class Shortcut:
    """A 1x1 convolution of a packed layer's output, which may be pooled before.

    Attributes:
        source: the packed layer's output.
        output: what the convolution gives.
        pool: the AveragePool node, or None.
        window: its kernel_shape and strides.
        weights: float32 (in_channels, out_channels).
        bias: float32 (out_channels), or None.
        nodes: the nodes it stands for.
    """

    source: str
    output: str
    pool: onnx.NodeProto | None
    window: dict[str, Any]
    weights: Array
    bias: Array | None
    nodes: tuple[onnx.NodeProto, ...]


def find_shortcut(graph: Graph, tensor: str, packed: Container[str]) -> Shortcut | None:
    """The shortcut that makes `tensor` out of one of the `packed` tensors; None where it is made otherwise."""
    conv = graph.maker(tensor)
    if conv is None or conv.op_type != "Conv" or graph.only_reader(tensor) is None:
        return None
    given = attributes(conv)
    weights = graph.constant(conv.input[1])
    bias = graph.constant(conv.input[2]) if len(conv.input) > 2 else None
    if weights is None or weights.ndim != 4 or weights.shape[2:] != (1, 1) or weights.dtype != np.float32:
        return None
    if len(conv.input) > 2 and bias is None:
        return None
    if given.get("group", 1) != 1 or any(given.get("pads", ())) or set(given.get("strides", (1,))) != {1}:
        return None
    matrix = np.ascontiguousarray(weights[:, :, 0, 0].T)
    if conv.input[0] in packed:
        return Shortcut(conv.input[0], tensor, None, {}, matrix, bias, (conv,))
    pool = graph.maker(conv.input[0])
    if pool is None or not _is_plain_mean(pool) or pool.input[0] not in packed:
        return None
    if graph.only_reader(conv.input[0]) is None:
        return None
    window = {name: value for name, value in attributes(pool).items() if name in ("kernel_shape", "strides")}
    return Shortcut(pool.input[0], tensor, pool, window, matrix, bias, (pool, conv))


def _is_plain_mean(node: onnx.NodeProto) -> bool:
    """Whether a node is an AveragePool of two axes without padding."""
    if node.op_type != "AveragePool":
        return False
    given = attributes(node)
    return (
        len(given.get("kernel_shape", ())) == 2
        and not any(given.get("pads", ()))
        and not given.get("ceil_mode")
        and set(given.get("dilations", (1,))) == {1}
        and given.get("auto_pad", b"NOTSET") == b"NOTSET"
    )
