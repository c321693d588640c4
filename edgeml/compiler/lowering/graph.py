"""The bindings of an imported model as a graph: who computes a value, who uses it, what is constant."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from tvm import relax, tirx

# TVM's expressions have no static types.
Expr = Any
Array = npt.NDArray[Any]


# What batch normalization is made of: worked out on constants, so that it goes into the weights before it.
_ARITHMETIC: dict[str, Callable[..., Array]] = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": np.divide,
    "sqrt": np.sqrt,
    "rsqrt": lambda value: 1 / np.sqrt(value),
    "negative": np.negative,
}


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
    _aliases: dict[Expr, Expr] = field(default_factory=dict)
    _tuples: dict[Expr, list[Expr]] = field(default_factory=dict)

    @classmethod
    def of(cls, function: Any) -> Graph:
        """The graph of a function whose body is straight-line bindings."""
        graph = cls([], [])
        for block in function.body.blocks:
            for binding in block.bindings:
                graph._add(binding.var, binding.value)
        graph.outputs.extend(read for variable in _variables(function.body.body) for read in graph._read(variable))
        return graph

    def _add(self, var: Expr, value: Expr) -> None:
        if isinstance(value, relax.Var):
            self._aliases[var] = self.resolve(value)
            return
        if isinstance(value, relax.TupleGetItem) and value.tuple_value in self._tuples:
            self._aliases[var] = self.resolve(self._tuples[value.tuple_value][int(value.index)])
            return
        if isinstance(value, relax.Tuple):
            self._tuples[var] = list(value.fields)
            return
        is_call = hasattr(value, "op") and hasattr(value, "args")
        name = getattr(value.op, "name", "") if is_call else ""
        operator = name.removeprefix("relax.") if name.startswith("relax.") else ""
        node = Node(var, value, operator, [self.resolve(argument) for argument in value.args] if is_call else [])
        self.nodes.append(node)
        self._producers[var] = node
        for used in {used for variable in relax.analysis.free_vars(value) for used in self._read(variable)}:
            self._users[used].append(node)

    def _read(self, variable: Expr) -> list[Expr]:
        """The variables that are read with one: the fields of a tuple."""
        if variable not in self._tuples:
            return [self.resolve(variable)]
        return [read for each in self._tuples[variable] for read in self._read(each)]

    def fields(self, variable: Expr) -> list[Expr] | None:
        """The fields of a variable that is a tuple written out in the graph, else None."""
        return self._tuples.get(variable) if isinstance(variable, relax.Var) else None

    def resolve(self, expr: Expr) -> Expr:
        """The variable that an expression is another name of, or the expression itself."""
        return self._aliases.get(expr, expr) if isinstance(expr, relax.Var) else expr

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
        if node.operator in _ARITHMETIC:
            values = [self.constant(argument) for argument in node.arguments]
            known = [value for value in values if value is not None]
            return _ARITHMETIC[node.operator](*known) if len(known) == len(values) else None
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
