"""Nodes that make a tensor out of nothing but a constant shape: a few bytes can ask for terabytes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgeml.core.errors import UntrustedFileError
from edgeml.core.onnx_guard.limits import OnnxLimits
from edgeml.core.onnx_guard.tensors import shown
from edgeml.core.onnx_guard.wire import VARINT, Buffer, fields, read_varint, signed64

# Operator -> which of its inputs is the shape (for Tile the repeats, each at least one element).
_SHAPE_INPUT = {"ConstantOfShape": 0, "Expand": 1, "Tile": 1}
_SHAPE_ATTRIBUTE = frozenset({"RandomNormal", "RandomUniform"})
_INT64 = 7
_INT64_DATA = 7
_INTS = 8
_MOST = 1 << 62


@dataclass
class _Scope:
    """How many elements a tensor has whose shape is one of a graph's constants, by the constant's name.

    A graph inside a node also sees the constants of the graphs around it.
    """

    parent: _Scope | None
    elements: dict[str, int] = field(default_factory=dict)

    def find(self, name: str) -> int:
        scope: _Scope | None = self
        while scope is not None:
            if name in scope.elements:
                return scope.elements[name]
            scope = scope.parent
        return 0


class Generators:
    """Collects such nodes during the scan and judges them at its end, when all constants are known.

    Only shapes that are stored in the file are seen; a shape that the model computes is left to the memory limit of the
    process that runs it.
    """

    def __init__(self, buffer: Buffer, limits: OnnxLimits) -> None:
        self._buffer = buffer
        self._limits = limits
        self._scope = _Scope(None)
        self._scopes: list[_Scope] = []
        self._waiting: list[tuple[_Scope, str]] = []
        self._elements = 0

    def enter(self, *, isolated: bool) -> None:
        """A graph begins; a function's body (`isolated`) sees no names from outside."""
        self._scopes.append(self._scope)
        self._scope = _Scope(None if isolated else self._scope)

    def leave(self) -> None:
        """The graph ends."""
        self._scope = self._scopes.pop()

    def initializer(self, tensor: dict[str, Any]) -> None:
        """Remember a stored tensor if it can be a shape."""
        self._remember(tensor.get("name", ""), self._of_tensor(tensor))

    def node(self, node: dict[str, Any]) -> None:
        """Look at one node of ONNX's own domain."""
        operator = node.get("op_type", "")
        inputs: list[str] = node.get("input", [])
        attributes: list[dict[str, Any]] = node.get("attribute", [])
        if operator in _SHAPE_INPUT and len(inputs) > _SHAPE_INPUT[operator]:
            self._waiting.append((self._scope, inputs[_SHAPE_INPUT[operator]]))
        elif operator in _SHAPE_ATTRIBUTE:
            for attribute in attributes:
                if attribute.get("name") == "shape":
                    self._add(operator, _product(self._integers(attribute, "ints", _INTS)))
        elif operator == "Constant" and node.get("output"):
            for attribute in attributes:
                if "t" in attribute:
                    self._remember(node["output"][0], self._of_tensor(attribute["t"]))
                else:
                    self._remember(node["output"][0], _product(self._integers(attribute, "ints", _INTS)))

    def check(self) -> None:
        """Judge the nodes whose shape is an input.

        Raises:
            UntrustedFileError: what they make is over a limit.
        """
        for scope, name in self._waiting:
            self._add(name, scope.find(name))

    def _add(self, name: str, elements: int) -> None:
        self._elements += elements
        for count, limit in (
            (elements, self._limits.tensor_elements),
            (self._elements, self._limits.generated_elements),
        ):
            if count > limit:
                raise UntrustedFileError(
                    f"nodes that fill constant shapes make {count} elements (at {shown(name)}); {limit} are allowed"
                )

    def _remember(self, name: str, elements: int) -> None:
        # Should a file use one name twice, the larger counts.
        self._scope.elements[name] = max(elements, self._scope.elements.get(name, 0))

    def _of_tensor(self, tensor: dict[str, Any]) -> int:
        dims: list[int] = tensor.get("dims", [])
        if tensor.get("data_type") != _INT64 or math.prod(dims) > self._limits.rank or "external_data" in tensor:
            return 0
        if "raw_data" in tensor:
            start, end = tensor["raw_data"]
            return _product(np.frombuffer(self._buffer[start:end], dtype="<i8").tolist())
        return _product(self._integers(tensor, "int64_data", _INT64_DATA))

    def _integers(self, message: dict[str, Any], field_name: str, number: int) -> list[int]:
        """A short list of varints, read again from the message, since the scan only counted them."""
        if not 0 < message.get(field_name, 0) <= self._limits.rank:
            return [0]
        found: list[int] = []
        for read, wire, a, b in fields(self._buffer, *message["span"]):
            if read != number:
                continue
            if wire == VARINT:
                found.append(signed64(a))
            else:
                while a < b:
                    value, a = read_varint(self._buffer, a, b)
                    found.append(signed64(value))
        return found


def _product(shape: list[int]) -> int:
    """Elements of a tensor of this shape; 0 where an axis is negative, since nothing is made then.

    Axes of size 0 are left out: a runtime may multiply the others first.
    """
    return 0 if any(axis < 0 for axis in shape) else min(math.prod(axis for axis in shape if axis), _MOST)
