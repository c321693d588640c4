"""The building blocks of TinyNet: squeeze-and-excitation, and the two residual blocks around a depthwise convolution.

Attribute names are those of timm's state dicts, so that published weights load.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgeml.models.tinynet.config import Stage, reduced_channels


class DropPath(nn.Module):
    """Leaves a residual branch out for a random part of the batch while training (Huang et al., ECCV 2016)."""

    def __init__(self, rate: float = 0.0) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """`x` with whole samples zeroed and the others scaled up to keep the mean; `x` itself in evaluation."""
        if not self.training or self.rate == 0:
            return x
        keep = 1 - self.rate
        return x * x.new_empty(x.shape[0], 1, 1, 1).bernoulli_(keep).div_(keep)


class SqueezeExcite(nn.Module):
    """Weighs channels by a gate computed from their means (Hu et al., CVPR 2018)."""

    def __init__(self, channels: int, reduced: int) -> None:
        super().__init__()
        self.conv_reduce = nn.Conv2d(channels, reduced, 1)
        self.conv_expand = nn.Conv2d(reduced, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """float32 (batch, channels, height, width), the same shape as `x`."""
        gate = x.mean((2, 3), keepdim=True)
        gate = self.conv_expand(F.silu(self.conv_reduce(gate)))
        return x * torch.sigmoid(gate)


class DepthwiseSeparable(nn.Module):
    """Depthwise convolution, squeeze-and-excitation, pointwise convolution; for stages without expansion."""

    def __init__(self, in_channels: int, stage: Stage, stride: int) -> None:
        super().__init__()
        self.conv_dw = _depthwise(in_channels, stage.kernel, stride)
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.se = SqueezeExcite(in_channels, reduced_channels(in_channels))
        self.conv_pw = nn.Conv2d(in_channels, stage.channels, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(stage.channels)
        self.drop_path = DropPath()
        self.has_skip = stride == 1 and in_channels == stage.channels

    def forward(self, x: Tensor) -> Tensor:
        """float32 (batch, channels, height, width)."""
        hidden = self.se(F.silu(self.bn1(self.conv_dw(x))))
        y: Tensor = self.bn2(self.conv_pw(hidden))
        return x + self.drop_path(y) if self.has_skip else y


class InvertedResidual(nn.Module):
    """Expand, depthwise convolution, squeeze-and-excitation, project (Sandler et al., CVPR 2018, MobileNetV2)."""

    def __init__(self, in_channels: int, stage: Stage, stride: int) -> None:
        super().__init__()
        hidden = in_channels * stage.expansion
        self.conv_pw = nn.Conv2d(in_channels, hidden, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(hidden)
        self.conv_dw = _depthwise(hidden, stage.kernel, stride)
        self.bn2 = nn.BatchNorm2d(hidden)
        # The squeeze is a quarter of the block's INPUT, not of the expanded channels it works on.
        self.se = SqueezeExcite(hidden, reduced_channels(in_channels))
        self.conv_pwl = nn.Conv2d(hidden, stage.channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(stage.channels)
        self.drop_path = DropPath()
        self.has_skip = stride == 1 and in_channels == stage.channels

    def forward(self, x: Tensor) -> Tensor:
        """float32 (batch, channels, height, width)."""
        hidden = F.silu(self.bn1(self.conv_pw(x)))
        hidden = self.se(F.silu(self.bn2(self.conv_dw(hidden))))
        y: Tensor = self.bn3(self.conv_pwl(hidden))
        return x + self.drop_path(y) if self.has_skip else y


def _depthwise(channels: int, kernel: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, kernel, stride, padding=kernel // 2, groups=channels, bias=False)
