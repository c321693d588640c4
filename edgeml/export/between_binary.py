"""Finds what lies between the binary layers of a graph, which stays in float32 when the rest is quantized."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from edgeml.export.int8_costs import Part, Wire
from edgeml.ops.registry import binary_operators


def between_binary_layers(parts: Sequence[Part], wires: Sequence[Wire]) -> frozenset[int]:
    """Indices of the parts that both come after a binary layer and come before one.

    There signs are taken of what 8 bits would round: each rounding across a threshold turns a sign, and the layers
    between have little work of their own that 8 bits could save.

    Args:
        parts: of the graph.
        wires: tensors between parts.
    """
    known = binary_operators()
    binary = [index for index, part in enumerate(parts) if part.kind in known]
    forward: dict[int, set[int]] = {}
    backward: dict[int, set[int]] = {}
    for wire in wires:
        if wire.source is not None and wire.sink is not None:
            forward.setdefault(wire.source, set()).add(wire.sink)
            backward.setdefault(wire.sink, set()).add(wire.source)
    return (_reached(binary, forward) & _reached(binary, backward)) - frozenset(binary)


def _reached(start: Iterable[int], neighbours: Mapping[int, set[int]]) -> frozenset[int]:
    """All that can be reached in one step or more."""
    found: set[int] = set()
    todo = list(start)
    while todo:
        for index in neighbours.get(todo.pop(), set()) - found:
            found.add(index)
            todo.append(index)
    return frozenset(found)
