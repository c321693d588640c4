"""What happens to a convolution's sums before they are stored: activation, residual, requantization."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tvm import tirx

from edgeml.compiler.kernels.activations import Activation
from edgeml.compiler.kernels.prim_func import Argument
from edgeml.compiler.kernels.vector import Buffer, Expr, Vector


@dataclass(frozen=True)
class Quantization:
    """An affine 8-bit code as ONNX QuantizeLinear has it: real value = (code - zero_point) * scale."""

    scale: float
    zero_point: int
    dtype: Literal["uint8", "int8"]

    @property
    def bounds(self) -> tuple[int, int]:
        """Least and greatest code."""
        return (0, 255) if self.dtype == "uint8" else (-128, 127)

    def code(self, vector: Vector, value: Expr) -> Expr:
        """The codes of real values, as whole float32 numbers: round half to even, then saturate."""
        low, high = self.bounds
        # A division, as the standard has it: multiplying by 1/scale moves values that lie between two codes.
        code = vector.round(value / vector.splat(self.scale)) + vector.splat(float(self.zero_point))
        return vector.clip(code, float(low), float(high))

    def real(self, vector: Vector, code: Expr) -> Expr:
        """The real values of codes that are given as float32 numbers."""
        if self.zero_point:
            code = code - vector.splat(float(self.zero_point))
        return code * vector.splat(self.scale)


Operator = Literal["add", "subtract", "multiply", "divide", "maximum", "minimum"]


@dataclass(frozen=True)
class Operand:
    """Combines the value with another tensor.

    Attributes:
        operator: how.
        quantization: the other tensor's code; None for float32.
        extent: "tensor" of the output's shape, "sample" (batch, channels), or "channel" (channels).
    """

    operator: Operator
    quantization: Quantization | None = None
    extent: Literal["tensor", "sample", "channel"] = "tensor"


@dataclass(frozen=True)
class Scalar:
    """Combines the value with a number."""

    operator: Operator
    number: float


@dataclass(frozen=True)
class Requantize:
    """Rounds the value to what an 8-bit code can say, and goes on with that."""

    quantization: Quantization


@dataclass(frozen=True)
class Place:
    """Where a vector of values belongs.

    Attributes:
        index: element of the output tensor.
        channel: element of a tensor with the channels only.
        sample: the sample, where it is known.
    """

    index: Expr
    channel: Expr
    sample: Expr | None = None


Step = Activation | Operand | Scalar | Requantize


@dataclass(frozen=True)
class Epilogue:
    """Steps in order, and the type that is stored.

    Attributes:
        steps: what is done to each value.
        output: the 8-bit code that is stored; None stores float32.
    """

    steps: tuple[Step, ...] = ()
    output: Quantization | None = None

    @property
    def dtype(self) -> str:
        """Type of the stored tensor."""
        return _dtype(self.output)

    @property
    def is_slow(self) -> bool:
        """Whether something takes a division, which is as long as ten multiplications: an exponential, a code."""
        activations = [step for step in self.steps if isinstance(step, Activation)]
        codes = self.output is not None or any(isinstance(step, Requantize) for step in self.steps)
        return codes or any(activation.is_slow for activation in activations)

    def arguments(self, shape: tuple[int | None, ...]) -> tuple[Argument, ...]:
        """The tensors that the steps read, each of the output's shape."""
        shapes = {"tensor": shape, "sample": (shape[0], shape[-1]), "channel": (shape[-1],)}
        operands = [step for step in self.steps if isinstance(step, Operand)]
        return tuple(
            Argument(f"operand{index}", shapes[step.extent], _dtype(step.quantization))
            for index, step in enumerate(operands)
        )

    def apply(self, vector: Vector, value: Expr, operands: Sequence[Buffer], place: Place, channels: int) -> Expr:
        """The value after all steps, float32.

        Args:
            vector: the vector unit.
            value: the sums.
            operands: the tensors that the steps read.
            place: where the values belong.
            channels: channels of the output, padded.
        """
        waiting = iter(operands)
        for step in self.steps:
            if isinstance(step, Activation):
                value = step.apply(vector, value)
            elif isinstance(step, Requantize):
                value = step.quantization.real(vector, step.quantization.code(vector, value))
            elif isinstance(step, Scalar):
                value = _combine(step.operator, value, vector.splat(step.number), vector)
            else:
                at = place.index
                if step.extent == "channel":
                    at = place.channel
                elif step.extent == "sample":
                    assert place.sample is not None, "kernels that mix samples take no such operand"
                    at = place.channel + place.sample * channels
                value = _combine(step.operator, value, load_real(vector, next(waiting), at, step.quantization), vector)
        return value

    def store(self, vector: Vector, output: Buffer, index: Expr, value: Expr) -> None:
        """Write a finished value, as float32 or as its code."""
        if self.output is not None:
            code = self.output.code(vector, value).astype(vector.of("int32"))
            value = code.astype(vector.of(self.output.dtype))
        vector.store(output, index, value)


def _combine(operator: Operator, left: Expr, right: Expr, vector: Vector) -> Expr:
    match operator:
        case "add":
            return left + right
        case "subtract":
            return left - right
        case "multiply":
            return left * right
        case "divide":
            return left / right
        case "maximum":
            return vector.maximum(left, right)
        case "minimum":
            return vector.minimum(left, right)


def _dtype(quantization: Quantization | None) -> str:
    return quantization.dtype if quantization else "float32"


def load_real(vector: Vector, buffer: Buffer, index: Expr, quantization: Quantization | None) -> Expr:
    """Values of a float32 or quantized tensor from `index` on, as float32."""
    value = vector.load(buffer, index)
    if quantization is None:
        return value
    return quantization.real(vector, value.astype(vector.of("int32")).astype(vector.dtype))


def padded(channels: int, vector: Vector) -> int:
    """Channels rounded up to whole vectors: how tensors lie in memory between our kernels."""
    return -(-channels // vector.lanes) * vector.lanes


def overlapping(index: Expr, step: int, total: Expr) -> Expr:
    """Start of tile `index` of `step` elements, moved back where it would pass the end of `total`."""
    if isinstance(total, int) and total % step == 0:
        return index * step
    return tirx.Min(index * step, total - step)
