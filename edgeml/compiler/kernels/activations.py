"""Activation functions on vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgeml.compiler.kernels.vector import Expr, Vector

ActivationName = Literal[
    "clip", "sigmoid", "silu", "hard_sigmoid", "hard_swish", "leaky_relu", "tanh", "gelu", "gelu_tanh"
]

# erf(x) by Abramowitz and Stegun 7.1.26 has an error of 1.5e-7, which GELU keeps relative to its argument.
_ERF_P = 0.3275911
_ERF = (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592)
_TANH_SERIES = (-17 / 315, 2 / 15, -1 / 3, 1.0)
_SQRT_HALF = 0.7071067811865476
_GELU_TANH_SCALE = 0.7978845608028654
_GELU_TANH_CUBE = 0.044715


@dataclass(frozen=True)
class Activation:
    """One pointwise function.

    Attributes:
        name: which; "clip" covers ReLU (0, inf) and ReLU6 (0, 6).
        low: lower bound of "clip", slope of "leaky_relu" below 0.
        high: upper bound of "clip".
    """

    name: ActivationName
    low: float = 0.0
    high: float = float("inf")

    @property
    def is_slow(self) -> bool:
        """Whether it takes an exponential and a division."""
        return self.name in {"sigmoid", "silu", "tanh", "gelu", "gelu_tanh"}

    def apply(self, vector: Vector, value: Expr) -> Expr:
        """The function of each lane of `value`."""
        one = vector.splat(1.0)
        match self.name:
            case "clip":
                return vector.clip(value, self.low, self.high)
            case "sigmoid":
                return vector.sigmoid(value)
            case "silu":
                return vector.silu(value)
            case "hard_sigmoid":
                return vector.clip(value * vector.splat(1 / 6) + vector.splat(0.5), 0.0, 1.0)
            case "hard_swish":
                value = vector.keep(value)
                return value * vector.clip(value * vector.splat(1 / 6) + vector.splat(0.5), 0.0, 1.0)
            case "leaky_relu":
                value = vector.keep(value)
                return vector.select(value < vector.splat(0.0), value * vector.splat(self.low), value)
            case "tanh":
                return _tanh(vector, value)
            case "gelu":
                value = vector.keep(value)
                return value * vector.splat(0.5) * (one + _erf(vector, value * vector.splat(_SQRT_HALF)))
            case "gelu_tanh":
                value = vector.keep(value)
                cube = value * value * value * vector.splat(_GELU_TANH_CUBE)
                return value * vector.sigmoid((value + cube) * vector.splat(2 * _GELU_TANH_SCALE))


RELU = Activation("clip")


def _tanh(vector: Vector, value: Expr) -> Expr:
    """2 sigmoid(2x) - 1; near 0 that loses relative accuracy, so small arguments take x - x^3/3 + 2x^5/15."""
    value = vector.keep(value)
    square = vector.keep(value * value)
    far = vector.sigmoid(value * vector.splat(2.0)) * vector.splat(2.0) - vector.splat(1.0)
    series = vector.splat(_TANH_SERIES[0])
    for coefficient in _TANH_SERIES[1:]:
        series = series * square + vector.splat(coefficient)
    near = value * series
    return vector.select(square < vector.splat(0.04), near, far)


def _erf(vector: Vector, value: Expr) -> Expr:
    one = vector.splat(1.0)
    value = vector.keep(value)
    size = vector.keep(vector.maximum(value, value * vector.splat(-1.0)))
    t = vector.keep(vector.divide(one, size * vector.splat(_ERF_P) + one))
    polynomial = vector.splat(_ERF[0])
    for coefficient in _ERF[1:]:
        polynomial = polynomial * t + vector.splat(coefficient)
    tail = vector.keep(polynomial * t * vector.exp(size * size * vector.splat(-1.0)))
    positive = vector.splat(1.0) - tail
    return vector.select(value < vector.splat(0.0), positive * vector.splat(-1.0), positive)
