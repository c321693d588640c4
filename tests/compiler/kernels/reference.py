"""Convolution, quantization and epilogues in numpy's float64, written without a look at the kernels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from edgeml.compiler.kernels.epilogue import Epilogue, Quantization
    from edgeml.compiler.kernels.window import Axis

Array = npt.NDArray[Any]


def convolution(image: Array, weights: Array, rows: Axis, columns: Axis, groups: int = 1) -> Array:
    """Sums (batch, height, width, outputs), float64, of an image (batch, height, width, channels) with zeros around.

    Weights are (outputs, channels / groups, height, width); integers stay exact.
    """
    pads = [(0, 0), (rows.pad_begin, rows.pad_end), (columns.pad_begin, columns.pad_end), (0, 0)]
    image = np.pad(image.astype(np.float64), pads)
    reach = [(axis.taps - 1) * axis.dilation + 1 for axis in (rows, columns)]
    windows = np.lib.stride_tricks.sliding_window_view(image, reach, (1, 2))
    windows = windows[:, :: rows.stride, :: columns.stride, :, :: rows.dilation, :: columns.dilation]
    parts = [
        np.einsum("nhwcij,ocij->nhwo", part, block, optimize=True)
        for part, block in zip(
            np.split(windows, groups, 3), np.split(weights.astype(np.float64), groups, 0), strict=True
        )
    ]
    return np.concatenate(parts, -1)


def windows(image: Array, rows: Axis, columns: Axis, outside: float) -> Array:
    """Every window (batch, height, width, channels, taps, taps) of an image with `outside` around it."""
    pads = [(0, 0), (rows.pad_begin, rows.pad_end), (columns.pad_begin, columns.pad_end), (0, 0)]
    image = np.pad(image, pads, constant_values=outside)
    reach = [(axis.taps - 1) * axis.dilation + 1 for axis in (rows, columns)]
    view = np.lib.stride_tricks.sliding_window_view(image, reach, (1, 2))
    return view[:, :: rows.stride, :: columns.stride, :, :: rows.dilation, :: columns.dilation]


def codes(values: Array, quantization: Quantization) -> Array:
    """QuantizeLinear."""
    bounds = np.iinfo(quantization.dtype)
    rounded = np.rint(values / quantization.scale) + quantization.zero_point
    return np.asarray(np.clip(rounded, bounds.min, bounds.max).astype(quantization.dtype))


def real(values: Array, quantization: Quantization | None) -> Array:
    """DequantizeLinear, in float64; other values as they are."""
    values = values.astype(np.float64)
    return values if quantization is None else (values - quantization.zero_point) * quantization.scale


def finished(values: Array, epilogue: Epilogue, operands: Sequence[Array] = ()) -> Array:
    """Values after the steps of an epilogue, as they are stored."""
    from edgeml.compiler.kernels.activations import Activation
    from edgeml.compiler.kernels.epilogue import Operand, Scalar

    waiting = iter(operands)
    for step in epilogue.steps:
        if isinstance(step, Activation):
            values = activation(step.name, values, step.low, step.high)
        elif isinstance(step, Operand):
            operand = real(next(waiting), step.quantization)
            if step.extent == "sample":
                operand = operand.reshape(len(operand), *[1] * (values.ndim - 2), -1)
            values = _COMBINE[step.operator](values, operand)
        elif isinstance(step, Scalar):
            values = _COMBINE[step.operator](values, step.number)
        else:
            values = real(codes(values, step.quantization), step.quantization)
    return values if epilogue.output is None else codes(values, epilogue.output)


_COMBINE = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": np.divide,
    "maximum": np.maximum,
    "minimum": np.minimum,
}


def activation(name: str, x: Array, low: float = 0.0, high: float = np.inf) -> Array:
    """The activation of that name."""
    from math import erf

    sigmoid = 1 / (1 + np.exp(-x))
    functions: dict[str, Array] = {
        "clip": np.clip(x, low, high),
        "sigmoid": sigmoid,
        "silu": x * sigmoid,
        "hard_sigmoid": np.clip(x / 6 + 0.5, 0, 1),
        "hard_swish": x * np.clip(x / 6 + 0.5, 0, 1),
        "leaky_relu": np.where(x < 0, x * low, x),
        "tanh": np.tanh(x),
        "gelu": x * 0.5 * (1 + np.vectorize(erf)(x / np.sqrt(2))),
        "gelu_tanh": x * 0.5 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
    }
    return functions[name]
