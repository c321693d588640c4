"""Arguments of torch's calls in the form of video graphs, and the calls that are functions of each value alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from torch import Tensor

Pads = tuple[int, int, int, int]

# In torch's words for modules and for functions.
_POINTWISE_MODULES = frozenset({
    "CELU", "ELU", "GELU", "Hardsigmoid", "Hardswish", "Hardtanh", "LeakyReLU", "LogSigmoid", "Mish", "PReLU", "ReLU",
    "ReLU6", "SELU", "SiLU", "Sigmoid", "Softplus", "Softsign", "Tanh",
})  # fmt: skip
_POINTWISE_FUNCTIONS = frozenset({
    "celu", "elu", "gelu", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "logsigmoid", "mish", "relu", "relu6",
    "selu", "silu", "sigmoid", "softplus", "softsign", "tanh", "clamp", "clip", "clamp_min", "clamp_max", "abs", "neg",
})  # fmt: skip


def pointwise_function(word: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Callable[[Tensor], Tensor] | None:
    """What a call does to its first argument if that is a function of each value alone, else None.

    Args:
        word: the class of a module, or a function's or method's name.
        args: positional arguments after the first.
        kwargs: the others.
    """
    import torch
    from torch.nn import functional as F

    if word in _POINTWISE_MODULES:
        return lambda x: x  # the module itself is the function
    if word not in _POINTWISE_FUNCTIONS or any(isinstance(each, torch.Tensor) for each in (*args, *kwargs.values())):
        return None
    function = getattr(torch, word, None) or getattr(F, word)
    if word in {"relu6", "elu", "hardtanh", "celu", "selu"}:
        function = getattr(F, word)
    told = {key: value for key, value in kwargs.items() if key != "inplace"}
    positional = tuple(each for each in args if not isinstance(each, bool))
    return lambda x: function(x, *positional, **told)


def pair(value: Any) -> tuple[int, int]:
    """(height, width) of what may be one number for both."""
    if isinstance(value, int):
        return (value, value)
    numbers = tuple(int(each) for each in value)
    return (numbers[0], numbers[-1])


def conv_pads(padding: Any, kernel_shape: Sequence[int], dilations: tuple[int, int]) -> Pads:
    """Top, left, bottom, right of torch's padding: a number, a pair, four sides, "same" or "valid"."""
    if padding == "valid":
        return (0, 0, 0, 0)
    if padding == "same":
        total = [dilations[axis] * (kernel_shape[axis] - 1) for axis in (0, 1)]
        return (total[0] // 2, total[1] // 2, total[0] - total[0] // 2, total[1] - total[1] // 2)
    if isinstance(padding, tuple) and len(padding) == 4:
        return padding
    height, width = pair(padding)
    return (height, width, height, width)


def same_pads(shape: tuple[int, ...], module: Any) -> Pads:
    """TensorFlow's padding, which makes the output ceil(size / stride), for an input of `shape`."""
    kernel, strides, dilations = pair(module.kernel_size), pair(module.stride), pair(module.dilation)
    total = [
        max(0, (math.ceil(size / stride) - 1) * stride + (taps - 1) * dilation + 1 - size)
        for size, taps, stride, dilation in zip(shape[2:], kernel, strides, dilations, strict=True)
    ]
    return (total[0] // 2, total[1] // 2, total[0] - total[0] // 2, total[1] - total[1] // 2)


def ceil_pads(
    shape: tuple[int, ...], out_shape: tuple[int, ...], kernel_shape: tuple[int, int], strides: tuple[int, int],
    pads: Pads,
) -> Pads:  # fmt: skip
    """`pads` with as much more at the bottom and right as an output of `out_shape` takes (torch's ceil_mode).

    Args:
        shape: of the input, (batch, channels, height, width), without padding.
        out_shape: of the output, (batch, channels, height, width).
        kernel_shape: (height, width).
        strides: (height, width).
        pads: top, left, bottom, right.
    """
    ends = []
    for axis in (0, 1):
        inside = shape[2 + axis]
        needed = (out_shape[2 + axis] - 1) * strides[axis] + kernel_shape[axis]
        ends.append(max(pads[axis + 2], needed - inside - pads[axis]))
    return (pads[0], pads[1], ends[0], ends[1])


def sum_pads(a: Pads, b: Pads) -> Pads:
    """Padding around padding, side by side."""
    return (a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3])


def torch_pads(pads: Pads) -> Pads:
    """Left, right, top, bottom, as torch orders them."""
    top, left, bottom, right = pads
    return left, right, top, bottom


def array_of(tensor: Tensor) -> npt.NDArray[np.float32]:
    """A parameter as a plain array."""
    return np.ascontiguousarray(tensor.detach().numpy(), np.float32)


def constant_of(value: Any) -> npt.NDArray[np.float64]:
    """A number, or a tensor that does not depend on the frame."""
    return np.asarray(value.detach().numpy() if hasattr(value, "detach") else value, np.float64)
