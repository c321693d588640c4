"""The parts of binary networks: an activation that shifts, a residual block, and a light first stage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgeml.models.binary.estimators import EstimatorName
from edgeml.models.binary.layers import BinaryConv2d, ScaleName

ActivationName = Literal["none", "relu", "rprelu"]


@dataclass(frozen=True, kw_only=True)
class BlockForm:
    """What the blocks of one network have in common.

    Attributes:
        activation: "none" (Bi-Real Net) or "rprelu" after the sum; "relu" before the normalization (QuickNet).
        learned_threshold: learn where each channel changes sign (ReActNet's RSign).
        estimator: the gradient of the inputs' sign.
        weight_scale: what counts are multiplied by.
    """

    activation: ActivationName = "none"
    learned_threshold: bool = False
    estimator: EstimatorName = "approx_sign"
    weight_scale: ScaleName = "mean"


class RPReLU(nn.Module):
    """PReLU whose kink can move: slope * min(x - a, 0) + max(x - a, 0) + b, per channel (Liu et al., ReActNet)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.before = nn.Parameter(torch.zeros(channels))
        self.slope = nn.Parameter(torch.full((channels,), 0.25))
        self.after = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """float32 (batch, channels, height, width), the shape of `x`."""
        return F.prelu(x - self.before[:, None, None], self.slope) + self.after[:, None, None]


class BinaryBlock(nn.Module):
    """A binary 3x3 convolution with normalization, and a real-valued shortcut around it (Liu et al., Bi-Real, 2018).

    The shortcut of a block that halves the size or changes the channels is a mean over 2x2 pixels, a real 1x1
    convolution and a normalization.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, form: BlockForm) -> None:
        super().__init__()
        self.stride = stride
        self.conv = BinaryConv2d(
            in_channels,
            out_channels,
            3,
            stride=stride,
            padding=1,
            estimator=form.estimator,
            weight_scale=form.weight_scale,
            learned_threshold=form.learned_threshold,
        )
        self.relu = nn.ReLU() if form.activation == "relu" else None
        self.bn = nn.BatchNorm2d(out_channels)
        self.shortcut: nn.Module | None = None
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels)
            )
        self.activation = RPReLU(out_channels) if form.activation == "rprelu" else None

    def forward(self, x: Tensor) -> Tensor:
        """float32 (batch, out_channels, height, width)."""
        y = self.conv(x)
        if self.relu is not None:
            y = self.relu(y)
        y = self.bn(y)
        if self.stride != 1:
            # Rounded up as the convolution's padding does; for even sides the operator stays the plain one.
            x = F.avg_pool2d(x, self.stride, ceil_mode=bool(x.shape[2] % self.stride or x.shape[3] % self.stride))
        y = y + (x if self.shortcut is None else self.shortcut(x))
        return y if self.activation is None else self.activation(y)  # type: ignore[no-any-return]


class LightStem(nn.Sequential):
    """A quarter of the size for little work: a narrow 3x3 convolution, a depthwise one, a pointwise one.

    As in QuickNet (Bannink et al., Larq Compute Engine, MLSys 2021); for RGB and 64 outputs, ResNet's 7x7 convolution
    takes 13 times the multiplications.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        narrow = max(out_channels // 4, 1)
        super().__init__(
            nn.Conv2d(in_channels, narrow, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(narrow),
            nn.ReLU(),
            nn.Conv2d(narrow, narrow, 3, stride=2, padding=1, groups=narrow, bias=False),
            nn.BatchNorm2d(narrow),
            nn.Conv2d(narrow, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        )
