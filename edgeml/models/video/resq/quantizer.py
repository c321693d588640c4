"""Fake quantization whose step is learned: LSQ (Esser et al., "Learned Step Size Quantization", ICLR 2020).

Forward is round(x / step), clipped to the codes, times step. Backward passes the gradient straight through inside the
range; the step's own is the rounding error inside and the code's bound outside, scaled by 1 / sqrt(values * bound).
The step is kept as its logarithm: it stays positive, and one learning rate suits all layers (our choice).
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from edgeml.core.errors import EdgeMLError
from edgeml.models.video.resq.ranges import activation_scale, check_bits, residual_scale, signed_codes, weight_scales

Kind = Literal["weight", "activation", "residual"]


class _RoundStraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(_: Any, x: Tensor) -> Tensor:
        return x.round()  # half to even, as ONNX's QuantizeLinear

    @staticmethod
    def backward(_: Any, *gradients: Tensor) -> Tensor:
        return gradients[0]


class _ScaledGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0] * ctx.factor, None


class Quantizer(nn.Module):
    """Rounds values to codes and back.

    Attributes:
        kind: "weight": symmetric, a step for each output channel; "activation": one step, the codes placed over the
            values' range; "residual": one step, symmetric.
        bits: 2 to 8.
        low: lowest code; minus the zero point in unsigned storage.
        high: highest code.
    """

    def __init__(self, kind: Kind, bits: int) -> None:
        super().__init__()
        self.kind = kind
        self.bits = check_bits(bits)
        codes: tuple[int, int] = (0, 2**bits - 1) if kind == "activation" else signed_codes(bits)
        self.low, self.high = codes
        self.log2_scale: nn.Parameter | None = None

    @property
    def scale(self) -> Tensor:
        """The step, float32: () or, of weights, (out, 1, ...).

        Raises:
            EdgeMLError: the quantizer has no range yet.
        """
        if self.log2_scale is None:
            raise EdgeMLError(f"a quantizer ({self.kind}, {self.bits} bits) has no range yet; calibrate the network")
        return torch.exp2(self.log2_scale)

    def fit(self, values: Tensor) -> None:
        """Take the range of least mean squared error on `values`, float32 of any shape or weights (out, ...)."""
        match self.kind:
            case "weight":
                scale = weight_scales(values, self.bits)
            case "residual":
                scale = torch.tensor(residual_scale(values, self.bits))
            case "activation":
                step, self.low, self.high = activation_scale(values, self.bits)
                scale = torch.tensor(step)
        self.log2_scale = nn.Parameter(scale.to(values.device, torch.float32).log2())

    def forward(self, x: Tensor) -> Tensor:
        """`x` rounded, of its shape and dtype."""
        scale = self.scale
        if torch.is_grad_enabled():
            scale = _scaled_gradient(scale, (x.numel() / scale.numel() * max(self.high, 1)) ** -0.5)
        return _round(torch.clamp(x / scale, self.low, self.high)) * scale

    def codes(self, x: Tensor) -> Tensor:
        """Codes of `x`, int16 of its shape, `low` to `high`."""
        return torch.clamp(x / self.scale, self.low, self.high).round().to(torch.int16)

    def extra_repr(self) -> str:
        """What `print` shows."""
        return f"{self.kind}, bits={self.bits}, codes {self.low} to {self.high}"


def _round(x: Tensor) -> Tensor:
    rounded: Tensor = _RoundStraightThrough.apply(x)  # type: ignore[no-untyped-call]
    return rounded


def _scaled_gradient(x: Tensor, factor: float) -> Tensor:
    same: Tensor = _ScaledGradient.apply(x, factor)  # type: ignore[no-untyped-call]
    return same
