"""Decides whether a state may be overwritten where it lies while its graph runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from edgeml.ops.domain import DOMAIN
from edgeml.runtime.streaming.metadata import State

if TYPE_CHECKING:
    import onnx


def states_may_alias(graph: onnx.GraphProto, states: Sequence[State]) -> bool:
    """Whether each state may share its memory with the output that follows it.

    So it is where nothing reads the state, or only the operator of edgeml's that makes its successor and takes it as
    `previous`, its last input: these operators promise to work in place, and nobody reads a state after them. It holds
    for their native kernels only, not for their bodies: standard operators promise no such thing.
    """
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in _nodes(graph.node):
        for name in node.input:
            readers.setdefault(name, []).append(node)
    outputs = {value.name for value in graph.output}
    return all(
        state.name not in outputs and _is_updated_in_place(state, readers.get(state.name, [])) for state in states
    )


def _is_updated_in_place(state: State, readers: Sequence[onnx.NodeProto]) -> bool:
    if not readers:
        return True
    (node, *others) = readers
    return (
        not others
        and node.domain == DOMAIN
        and node.input[-1] == state.name
        and len(node.output) > 0
        and node.output[0] == state.next
    )


def _nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                yield from _nodes(graph.node)
