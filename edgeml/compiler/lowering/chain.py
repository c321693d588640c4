"""Finds what follows a convolution that can be done before its sums are stored: bias, activation, residual, codes."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from edgeml.compiler.kernels.activations import RELU, Activation
from edgeml.compiler.kernels.epilogue import Epilogue, Operand, Operator, Quantization, Requantize, Scalar, Step
from edgeml.compiler.lowering.graph import Array, Expr, Graph, Node, dtype_of, shape_of
from edgeml.compiler.lowering.quantization import dequantize_of, quantize_of

_ACTIVATIONS: dict[str, Activation] = {
    "nn.relu": RELU,
    "sigmoid": Activation("sigmoid"),
    "tanh": Activation("tanh"),
    "nn.gelu": Activation("gelu"),
    "nn.gelu_tanh": Activation("gelu_tanh"),
    "nn.silu": Activation("silu"),
}
_BINARY: dict[str, Operator] = {
    "add": "add",
    "subtract": "subtract",
    "multiply": "multiply",
    "divide": "divide",
    "maximum": "maximum",
    "minimum": "minimum",
}
_COMMUTATIVE = frozenset({"add", "multiply", "maximum", "minimum"})


@dataclass
class Chain:
    """A value and what is done to it, up to the first point where somebody else reads it.

    Attributes:
        graph: the model.
        var: the last value of the chain.
        linear: whether constants may still go into the weights and bias of what computes the value.
        scale: factor per channel to go into the weights.
        bias: addend per channel to go into the bias.
        steps: what is done, in order.
        operands: what the steps read: a variable, or an array with a value per channel.
        output: the code in which the last value is stored.
        absorbed: the nodes that the chain replaces.
    """

    graph: Graph
    var: Expr
    taken: frozenset[Node]
    linear: bool = True
    scale: npt.NDArray[np.float32] | None = None
    bias: npt.NDArray[np.float32] | None = None
    steps: list[Step] = field(default_factory=list)
    operands: list[Expr | Array] = field(default_factory=list)
    output: Quantization | None = None
    absorbed: list[Node] = field(default_factory=list)

    @property
    def epilogue(self) -> Epilogue:
        """The steps as a kernel takes them."""
        return Epilogue(tuple(self.steps), self.output)

    @property
    def activation(self) -> Activation | None:
        """The chain's only step where that is an activation; one that does nothing where there is no step."""
        if self.output is not None or self.operands or len(self.steps) > 1:
            return None
        only = self.steps[0] if self.steps else Activation("clip", float("-inf"), float("inf"))
        return only if isinstance(only, Activation) else None

    def follow(self) -> Chain:
        """Extend the chain as far as it goes; returns itself."""
        while self.output is None and self._extend():
            pass
        return self

    def take(self, node: Node) -> bool:
        """Take a node whose only input that is no constant is the chain's value."""
        return self._activation(node) or self._binary(node) or self._quantize(node)

    def _extend(self) -> bool:
        if self.graph.is_output(self.var):
            return False
        users = [user for user in self.graph.users(self.var) if user.operator != ""]
        if len(users) != len(self.graph.users(self.var)) or any(user in self.taken for user in users):
            return False
        if len(users) == 2:
            return self.gated_by_itself(users)
        return len(users) == 1 and self.take(users[0])

    def _absorb(self, *nodes: Node) -> bool:
        self.absorbed.extend(nodes)
        self.var = nodes[-1].var
        return True

    def _step(self, step: Step, *nodes: Node) -> bool:
        self.linear = False
        self.steps.append(step)
        return self._absorb(*nodes)

    def _activation(self, node: Node) -> bool:
        if node.operator in _ACTIVATIONS:
            return self._step(_ACTIVATIONS[node.operator], node)
        if node.operator == "nn.leakyrelu":
            return self._step(Activation("leaky_relu", float(node.attributes.alpha)), node)
        if node.operator == "clip":
            bounds = [self.graph.constant(argument) for argument in node.arguments[1:3]]
            numbers = [_number(argument, bound) for argument, bound in zip(node.arguments[1:3], bounds, strict=True)]
            if numbers[0] is not None and numbers[1] is not None:
                return self._step(Activation("clip", numbers[0], numbers[1]), node)
        return False

    def gated_by_itself(self, users: list[Node]) -> bool:
        """X * sigmoid(x), which is SiLU, and x * clip(x + 3, 0, 6) / 6, which is hard swish."""
        product = next((user for user in users if user.operator == "multiply"), None)
        gate = next((user for user in users if user is not product), None)
        if product is None or gate is None or not any(argument.same_as(self.var) for argument in product.arguments):
            return False
        if gate.operator == "sigmoid" and self._only_feeds(gate, product):
            return self._step(Activation("silu"), gate, product)
        inner = Chain(self.graph, self.var, self.taken, linear=False)
        node: Node | None = gate
        while node is not None and node is not product and inner.take(node):
            node = self.graph.only_user(inner.var)
        if node is product and _is_hard_sigmoid(inner.steps):
            return self._step(Activation("hard_swish"), *inner.absorbed, product)
        return False

    def _only_feeds(self, node: Node, target: Node) -> bool:
        return self.graph.only_user(node.var) is target

    def _binary(self, node: Node) -> bool:
        if node.operator not in _BINARY or len(node.arguments) != 2:
            return False
        left, right = node.arguments
        on_left = left.same_as(self.var)
        if on_left and right.same_as(self.var):
            return False
        other = right if on_left else left
        operator = _BINARY[node.operator]
        if not on_left and operator not in _COMMUTATIVE:
            return False
        if dtype_of(node.var) != "float32" or not same_shape(node.var, self.var):
            return False
        constant = self.graph.constant(other)
        if constant is not None:
            return self._constant(operator, constant, node)
        return self._tensor(operator, other, node)

    def _constant(self, operator: Operator, constant: Array, node: Node) -> bool:
        shape = shape_of(self.var)
        if shape is None or len(shape) not in {2, 4} or not isinstance(shape[1], int) or constant.dtype != np.float32:
            return False
        values = per_channel(constant, len(shape), shape[1])
        if values is None:
            return False
        if self.linear and operator in {"add", "subtract", "multiply", "divide"}:
            self._fold(operator, values)
            return self._absorb(node)
        if constant.size == 1:
            return self._step(Scalar(operator, float(constant.reshape(()))), node)
        self.operands.append(values)
        return self._step(Operand(operator, extent="channel"), node)

    def _fold(self, operator: Operator, values: npt.NDArray[np.float32]) -> None:
        if operator in {"multiply", "divide"}:
            factor = values if operator == "multiply" else (1 / values).astype(np.float32)
            self.scale = factor if self.scale is None else self.scale * factor
            self.bias = None if self.bias is None else self.bias * factor
            return
        addend = values if operator == "add" else -values
        self.bias = addend if self.bias is None else self.bias + addend

    def _tensor(self, operator: Operator, other: Expr, node: Node) -> bool:
        if not same_shape(other, self.var) or dtype_of(other) != "float32":
            return False
        shape = shape_of(other)
        if shape is None or len(shape) not in {2, 4} or not all(isinstance(axis, int) for axis in shape[1:]):
            return False
        coded = dequantize_of(self.graph, other)
        self.operands.append(coded.codes if coded else other)
        return self._step(Operand(operator, coded.quantization if coded else None), node)

    def _quantize(self, node: Node) -> bool:
        quantization = quantize_of(self.graph, node)
        if quantization is None:
            return False
        self.linear = False
        real = self.graph.only_user(node.var)
        user = self.graph.only_user(real.var) if real is not None and real.operator == "dequantize" else None
        if real is not None and user is not None and user not in self.taken and self._adds_a_tensor(real, user):
            coded = dequantize_of(self.graph, real.var)
            if coded is not None and coded.quantization == quantization:
                return self._step(Requantize(quantization), node, real)
        self.output = quantization
        return self._absorb(node)

    def _adds_a_tensor(self, real: Node, user: Node) -> bool:
        """Whether what reads the codes back is the sum with another tensor, which is then one more step."""
        if user.operator not in {"add", "multiply"} or not same_shape(user.var, real.var):
            return False
        other = next((argument for argument in user.arguments if not argument.same_as(real.var)), None)
        return other is not None and self.graph.constant(other) is None and same_shape(other, real.var)


def _is_hard_sigmoid(steps: list[Step]) -> bool:
    match steps:
        case [Scalar("add", 3.0), Activation("clip", 0.0, 6.0), Scalar("divide", 6.0)]:
            return True
        case [Scalar("add", 3.0), Activation("clip", 0.0, 6.0), Scalar("multiply", factor)]:
            return abs(factor - 1 / 6) < 1e-7
        case [Scalar("multiply", factor), Scalar("add", 0.5), Activation("clip", 0.0, 1.0)]:
            return abs(factor - 1 / 6) < 1e-7
    return False


def _number(expr: Expr, constant: Array | None) -> float | None:
    if constant is not None:
        return float(constant.reshape(())) if constant.size == 1 else None
    value = getattr(expr, "value", None)
    return float(value) if isinstance(value, (int, float)) else None


def per_channel(constant: Array, rank: int, channels: int) -> npt.NDArray[np.float32] | None:
    """A constant as one value per channel (axis 1 of `rank`); None where it varies along another axis."""
    shape = (1,) * (rank - constant.ndim) + constant.shape
    if len(shape) != rank or any(size != 1 for axis, size in enumerate(shape) if axis != 1):
        return None
    if shape[1] not in {1, channels}:
        return None
    return np.broadcast_to(constant.reshape(-1), (channels,)).astype(np.float32)


def same_shape(left: Expr, right: Expr) -> bool:
    """Whether two tensors have the same axes, symbolic ones included."""
    first, second = shape_of(left), shape_of(right)
    if first is None or second is None or len(first) != len(second):
        return False
    return all(
        a == b if isinstance(a, int) or isinstance(b, int) else a.same_as(b) for a, b in zip(first, second, strict=True)
    )
