"""The bindings of an imported model as a graph: who computes a value, who uses it, what is constant."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from tvm import relax, tirx

# TVM's expressions have no static types.
Expr = Any
Array = npt.NDArray[Any]


@dataclass(eq=False)
class Node:
    """One binding `var = operator(arguments)`.

    Attributes:
        var: the value it defines.
        expr: the right-hand side.
        operator: relax's name of the operator without "relax."; "" where the right-hand side is no call.
        arguments: the call's arguments.
    """

    var: Expr
    expr: Expr
    operator: str
    arguments: list[Expr]

    @property
    def attributes(self) -> Any:
        """The call's attributes."""
        return self.expr.attrs


@dataclass
class Graph:
    """A relax function's dataflow.

    Attributes:
        nodes: in an order of execution.
        outputs: the variables that the function returns.
    """

    nodes: list[Node]
    outputs: list[Expr]
    _producers: dict[Expr, Node] = field(default_factory=dict)
    _users: dict[Expr, list[Node]] = field(default_factory=lambda: defaultdict(list))
    _constants: dict[Expr, Array | None] = field(default_factory=dict)

    @classmethod
    def of(cls, function: Any) -> Graph:
        """The graph of a function whose body is straight-line bindings."""
        graph = cls([], _variables(function.body.body))
        for block in function.body.blocks:
            for binding in block.bindings:
                graph._add(binding)
        return graph

    def _add(self, binding: Any) -> None:
        value = binding.value
        is_call = hasattr(value, "op") and hasattr(value, "args")
        name = getattr(value.op, "name", "") if is_call else ""
        node = Node(
            binding.var, value, name.removeprefix("relax.") if name.startswith("relax.") else "", _arguments(value)
        )
        self.nodes.append(node)
        self._producers[node.var] = node
        for variable in {*_free_variables(value)}:
            self._users[variable].append(node)

    def producer(self, expr: Expr) -> Node | None:
        """The node that defines a variable; None for inputs and constants."""
        return self._producers.get(expr) if isinstance(expr, relax.Var) else None

    def users(self, var: Expr) -> list[Node]:
        """The nodes that read a variable."""
        return self._users[var]

    def only_user(self, var: Expr) -> Node | None:
        """The node that alone reads a variable which is no output."""
        users = self._users[var]
        return users[0] if len(users) == 1 and not self.is_output(var) else None

    def is_output(self, var: Expr) -> bool:
        """Whether the function returns the variable."""
        return any(var.same_as(output) for output in self.outputs)

    def constant(self, expr: Expr) -> Array | None:
        """The value of an expression that no input takes part in; None where one does, or it is not worked out here."""
        if hasattr(expr, "value") and hasattr(expr.value, "numpy"):
            return np.asarray(expr.value.numpy())
        if not isinstance(expr, relax.Var) or expr not in self._producers:
            return None
        if expr not in self._constants:
            self._constants[expr] = self._evaluate(self._producers[expr])
        return self._constants[expr]

    def _evaluate(self, node: Node) -> Array | None:
        if isinstance(node.expr, relax.Var):
            return self.constant(node.expr)
        if node.operator not in {"reshape", "permute_dims", "dequantize", "squeeze", "expand_dims", "astype"}:
            return None
        value = self.constant(node.arguments[0])
        if value is None:
            return None
        match node.operator:
            case "permute_dims":
                return value.transpose([int(axis) for axis in node.attributes.axes] if node.attributes.axes else None)
            case "astype":
                return value.astype(str(node.var.ty.dtype))
            case "dequantize":
                scale, zero_point = (self.constant(argument) for argument in node.arguments[1:3])
                return None if scale is None or zero_point is None else dequantized(node, value, scale, zero_point)
        shape = static_shape(node.var)
        return None if shape is None else value.reshape(shape)


def dequantized(node: Node, codes: Array, scale: Array, zero_point: Array) -> npt.NDArray[np.float32]:
    """What a dequantize node makes of constant codes: (code - zero_point) * scale along its axis."""
    if scale.size > 1:
        shape = [1] * codes.ndim
        shape[int(node.attributes.axis)] = -1
        scale, zero_point = scale.reshape(shape), zero_point.reshape(shape) if zero_point.size > 1 else zero_point
    return ((codes.astype(np.int32) - zero_point.astype(np.int32)) * scale).astype(np.float32)


def shape_of(expr: Expr) -> list[int | Expr] | None:
    """The axes of a tensor, symbolic ones as expressions; None where even their number is unknown."""
    shape = getattr(getattr(expr, "ty", None), "shape", None)
    if shape is None:
        return None
    return [int(axis) if isinstance(axis, tirx.IntImm) else axis for axis in shape]


def static_shape(expr: Expr) -> tuple[int, ...] | None:
    """The axes of a tensor where all are known, else None."""
    shape = shape_of(expr)
    if shape is None or not all(isinstance(axis, int) for axis in shape):
        return None
    return tuple(axis for axis in shape if isinstance(axis, int))


def dtype_of(expr: Expr) -> str:
    """Type of a tensor's elements; "" for what is no tensor."""
    return str(getattr(getattr(expr, "ty", None), "dtype", "") or "")


def _variables(expr: Expr) -> list[Expr]:
    if isinstance(expr, relax.Tuple):
        return [variable for each in expr.fields for variable in _variables(each)]
    return [expr]


def _arguments(value: Expr) -> list[Expr]:
    return list(value.args) if hasattr(value, "args") else []


def _free_variables(value: Expr) -> list[Expr]:
    return list(relax.analysis.free_vars(value))
