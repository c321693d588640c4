"""Chooses the step of a quantizer so that the mean squared error on given values is least.

The range is the values' own, clipped by a ratio from a grid: few bits are better spent on the many values near zero
than on the few far from it. Zero is always a code of its own, so that padding and what does not move stay exact.
"""

from __future__ import annotations

import torch
from torch import Tensor

from edgeml.core.errors import UsageError

MIN_BITS = 2
MAX_BITS = 8
# Of the largest magnitude; residuals have long tails, so the grid goes far down and its steps are relative.
RATIOS = tuple(0.955**power for power in range(100))
_MOST_VALUES = 1 << 17


def check_bits(bits: int) -> int:
    """`bits`.

    Raises:
        UsageError: it is not one of 2 to 8.
    """
    if not MIN_BITS <= bits <= MAX_BITS:
        raise UsageError(f"{bits} bits; a quantizer has {MIN_BITS} to {MAX_BITS}, and None leaves float32")
    return bits


def signed_codes(bits: int) -> tuple[int, int]:
    """Lowest and highest code of a symmetric quantizer: -7 and 7 of 4 bits."""
    highest = 2 ** (check_bits(bits) - 1) - 1
    return -highest, highest


def weight_scales(weight: Tensor, bits: int) -> Tensor:
    """The symmetric step of each output channel.

    Args:
        weight: float32 (out, ...).
        bits: 2 to 8.

    Returns:
        float32 (out, 1, ...), as many axes as `weight`; 1 for a channel of zeros.
    """
    low, high = signed_codes(bits)
    rows = weight.detach().flatten(1)
    largest = rows.abs().amax(1, keepdim=True)
    largest = torch.where(largest > 0, largest, torch.full_like(largest, high))
    best, least = largest / high, torch.full_like(largest, torch.inf)
    for ratio in RATIOS:
        scale = largest * (ratio / high)
        error = _squared_error(rows, scale, low, high).sum(1, keepdim=True)
        best, least = torch.where(error < least, scale, best), torch.minimum(error, least)
    return best.reshape(-1, *[1] * (weight.ndim - 1))


def residual_scale(values: Tensor, bits: int) -> float:
    """The symmetric step for values around zero, float32 of any shape; 1 where all are zero."""
    low, high = signed_codes(bits)
    values = _sample(values)
    largest = float(values.abs().max())
    if largest == 0:
        return 1.0
    scales = [largest * ratio / high for ratio in RATIOS]
    return min(scales, key=lambda scale: float(_squared_error(values, scale, low, high).sum()))


def activation_scale(values: Tensor, bits: int) -> tuple[float, int, int]:
    """The step and the lowest and highest code for values on both sides of zero or on one.

    The ends of the range are clipped one after the other. In unsigned storage the zero point is minus the lowest code.

    Args:
        values: float32 of any shape.
        bits: 2 to 8.

    Returns:
        Step, lowest code (at most 0) and highest (at least 0); the codes are 2**bits in number.
    """
    levels = 2 ** check_bits(bits) - 1
    values = _sample(values)
    bottom, top = min(0.0, float(values.min())), max(0.0, float(values.max()))
    if bottom == top:
        return 1.0, 0, levels

    def error(ends: tuple[float, float]) -> float:
        scale, low, high = _affine(*ends, levels)
        return float(_squared_error(values, scale, low, high).sum())

    if top > 0:
        top = min((top * ratio for ratio in RATIOS), key=lambda end: error((bottom, end)))
    if bottom < 0:
        bottom = min((bottom * ratio for ratio in RATIOS), key=lambda end: error((end, top)))
    return _affine(bottom, top, levels)


def _affine(bottom: float, top: float, levels: int) -> tuple[float, int, int]:
    scale = (top - bottom) / levels
    low = round(bottom / scale)
    return scale, low, low + levels


def _squared_error(values: Tensor, scale: Tensor | float, low: int, high: int) -> Tensor:
    return ((values / scale).round_().clamp_(low, high) * scale - values).square()


def _sample(values: Tensor) -> Tensor:
    """At most so many of the values, drawn evenly but not in step with any axis; the extremes may be lost."""
    values = values.detach().flatten()
    if not bool(torch.isfinite(values).all()):
        raise UsageError("the calibration frames lead to values that are not finite; look at the network and the data")
    if len(values) <= _MOST_VALUES:
        return values
    generator = torch.Generator().manual_seed(0)
    return values[torch.randint(len(values), (_MOST_VALUES,), generator=generator)]
