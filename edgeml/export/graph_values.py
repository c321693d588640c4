"""Looks up what a graph's values are: who makes them, how often they are read, their shapes, what constants hold."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgeml.ops.constant_sizes import evaluate

if TYPE_CHECKING:
    import onnx

# Operators that a constant is followed through: those that rearrange it, and those that unpack signs from bits.
_FOLLOWED = frozenset(
    {"Identity", "Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Slice", "BitwiseAnd", "Equal", "Where"}
)
_MOST_STEPS = 16


class GraphValues:
    """The values of a graph as it is now; look again (a new object) after nodes changed.

    Args:
        graph: its sub-graphs are seen only as readers of its values.
    """

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.makers = {name: node for node in graph.node for name in node.output if name}
        self.readers = Counter(_reads(graph))
        self._initializers = {tensor.name: tensor for tensor in graph.initializer}
        self._types = {value.name: value.type for value in (*graph.value_info, *graph.input, *graph.output)}
        self._names = {*self._initializers, *self._types, *self.makers, *(node.name for node in graph.node)}
        self._variable = {value.name for value in graph.input}
        # A stored byte holds eight signs at most; what grows beyond is none of ours.
        self._most_elements = 8 * sum(tensor.ByteSize() for tensor in graph.initializer) + 64
        self._known: dict[str, npt.NDArray[Any] | None] = {}

    def constant(self, name: str) -> npt.NDArray[Any] | None:
        """The content of a value that is the same on every run, also where it was rearranged; None for any other."""
        if name not in self._known:
            self._known[name] = self._constant(name, _MOST_STEPS)
        return self._known[name]

    def shape(self, name: str) -> tuple[int | None, ...] | None:
        """The shape, None for an axis of unknown size; None where even the rank is unknown."""
        if name in self._initializers:
            return tuple(self._initializers[name].dims)
        kind = self._types.get(name)
        if kind is None or not kind.tensor_type.HasField("shape"):
            return None
        return tuple(dim.dim_value if dim.HasField("dim_value") else None for dim in kind.tensor_type.shape.dim)

    def unused(self, name: str) -> str:
        """`name`, or one like it that nothing in the graph has yet; taken from then on."""
        free, number = name, 0
        while free in self._names:
            number += 1
            free = f"{name}_{number}"
        self._names.add(free)
        return free

    def _constant(self, name: str, steps: int) -> npt.NDArray[Any] | None:
        from onnx import numpy_helper

        if name in self._initializers and name not in self._variable:  # an input's initializer is but its default
            return numpy_helper.to_array(self._initializers[name])
        node = self.makers.get(name)
        if node is None or node.domain not in {"", "ai.onnx"}:
            return None
        if node.op_type == "Constant":
            return None if node.input else evaluate(node, {})
        if node.op_type not in _FOLLOWED or not steps:
            return None
        inputs = {first: self._constant(first, steps - 1) for first in node.input[:1]}
        inputs |= {entry: self._constant(entry, 0) for entry in node.input[1:] if entry}
        known = {entry: value for entry, value in inputs.items() if value is not None}
        if len(known) < len(inputs) or _broadcast_size(known.values(), node.op_type) > self._most_elements:
            return None
        return evaluate(node, known)


def _broadcast_size(inputs: Iterable[npt.NDArray[Any]], op_type: str) -> int:
    if op_type not in {"BitwiseAnd", "Equal", "Where"}:
        return 0
    try:
        return math.prod(np.broadcast_shapes(*(value.shape for value in inputs)))
    except ValueError:
        return 0  # they do not fit, which evaluating them tells


def _reads(graph: onnx.GraphProto) -> list[str]:
    found = [name for node in graph.node for name in node.input] + [value.name for value in graph.output]
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                found.extend(_reads(inner))
    return found
