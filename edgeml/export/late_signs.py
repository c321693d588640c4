"""Moves the taking of signs past pooling and reshaping, up to the layer that multiplies them.

Signs of a maximum are the maximum of signs, and rearranged values have rearranged signs, so nothing changes but the
order. It is done where a file is read, so that a file and its source take signs at the same places.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgeml.export.graph_values import GraphValues
from edgeml.export.sign_pattern import Signs, find_signs

if TYPE_CHECKING:
    import onnx

_LAYERS = frozenset({"Conv", "Gemm", "MatMul"})
_REARRANGING = frozenset({"Flatten", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Identity"})
_LONGEST = 16  # of such a path: a file that is no valid ONNX may hold a circle


def take_signs_late(graph: onnx.GraphProto) -> None:
    """Move every sign that a convolution or a matrix product reads by way of such operators; in place."""
    values = GraphValues(graph)
    nodes: list[onnx.NodeProto] = []
    moved: dict[str, str] = {}
    for node in graph.node:
        if node.op_type in _LAYERS and not node.domain and node.input:
            name = node.input[0]
            if name not in moved:
                path, signs = _path(values, name)
                if path and signs is not None:
                    made = _after(values, path, signs)
                    moved[name] = made[-1].output[0]
                    nodes.extend(made)
            node.input[0] = moved.get(name, name)
        nodes.append(node)
    if moved:
        del graph.node[:]
        graph.node.extend(nodes)
        _drop_unread(graph)


def _path(values: GraphValues, name: str) -> tuple[list[onnx.NodeProto], Signs | None]:
    """The operators between signs and the value of that name, and the signs, where they may change places."""
    path: list[onnx.NodeProto] = []
    node = values.makers.get(name)
    while node is not None and not node.domain and node.input and len(node.output) == 1 and len(path) < _LONGEST:
        if node.op_type not in _REARRANGING and node.op_type != "MaxPool":
            break
        path.insert(0, node)
        node = values.makers.get(node.input[0])
    if not path:
        return [], None
    signs = find_signs(values, path[0].input[0])
    if signs is None or signs.threshold.size != 1 or signs.threshold.ndim > 1 or signs.scale < 0:
        return [], None
    return path, signs


def _after(values: GraphValues, path: Sequence[onnx.NodeProto], signs: Signs) -> list[onnx.NodeProto]:
    """The operators of the path on the values before their signs are taken, then the signs."""
    import onnx

    made: list[onnx.NodeProto] = []
    source, end = signs.source, path[-1].output[0]
    names = [*(f"{step.output[0]}_before_signs" for step in path), f"{end}_negative", f"{end}_signs"]
    for step, name in zip((*path, signs.less, signs.where), names, strict=True):
        node = onnx.NodeProto()
        node.CopyFrom(step)
        node.name = values.unused(f"{step.name or step.output[0]}_late")
        node.input[0] = source
        source = node.output[0] = values.unused(name)
        made.append(node)
    return made


def _drop_unread(graph: onnx.GraphProto) -> None:
    """Take out nodes that nothing reads any more; a graph's nodes stand in the order they are computed."""
    readers = GraphValues(graph).readers
    kept: list[onnx.NodeProto] = []
    for node in reversed(graph.node):
        if any(readers[name] for name in node.output):
            kept.append(node)
        else:
            readers.subtract(node.input)
    del graph.node[:]
    graph.node.extend(reversed(kept))
