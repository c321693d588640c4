"""A small two-branch network for segmentation, after DDRNet-23-slim (Hong et al., arXiv:2101.06085).

One branch keeps an eighth of the image's size, the other goes on to a 32nd for context; they exchange sums twice. Of
the paper's network it keeps the stem, the basic blocks and the exchange; the context is one 3x3 convolution and a 1x1
at the coarsest size instead of the pyramid of poolings (DAPPM), whose global average changes with every pixel.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from edgeml.core.errors import UsageError


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (He et al., CVPR 2016)."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1, last_relu: bool = True) -> None:
        super().__init__()
        self.first = _layer(in_channels, out_channels, stride=stride)
        self.second = _layer(out_channels, out_channels, relu=False)
        plain = stride == 1 and in_channels == out_channels
        self.shortcut = nn.Identity() if plain else _layer(in_channels, out_channels, 1, stride=stride, relu=False)
        self.last_relu = last_relu

    def forward(self, x: Tensor) -> Tensor:
        """float32 (batch, channels, height, width)."""
        total: Tensor = self.second(self.first(x)) + self.shortcut(x)
        return F.relu(total) if self.last_relu else total


class TwoBranch(nn.Module):
    """Logits for every pixel of an image whose sides are multiples of 32.

    Args:
        classes: of pixels.
        in_channels: of the image.
        width: channels of the stem; the branch at an eighth has twice as many, the other up to eight times.

    Raises:
        UsageError: a number is out of range.
    """

    def __init__(self, *, classes: int = 19, in_channels: int = 3, width: int = 32) -> None:
        super().__init__()
        if min(classes, in_channels, width) < 1:
            raise UsageError(f"{classes} classes, {in_channels} input channels, width {width}; all must be 1 or more")
        fine, coarse, coarsest = width * 2, width * 4, width * 8
        self.stem = nn.Sequential(_layer(in_channels, width, stride=2), _layer(width, width, stride=2))
        self.shared = nn.Sequential(
            BasicBlock(width, width), BasicBlock(width, width), BasicBlock(width, fine, stride=2),
            BasicBlock(fine, fine),
        )  # fmt: skip
        self.fine = nn.ModuleList(
            nn.Sequential(BasicBlock(fine, fine), BasicBlock(fine, fine, last_relu=False)) for _ in range(2)
        )
        self.coarse = nn.ModuleList(
            nn.Sequential(BasicBlock(before, after, stride=2), BasicBlock(after, after, last_relu=False))
            for before, after in ((fine, coarse), (coarse, coarsest))
        )
        self.down = nn.ModuleList((
            _layer(fine, coarse, stride=2, relu=False),
            nn.Sequential(_layer(fine, coarse, stride=2), _layer(coarse, coarsest, stride=2, relu=False)),
        ))  # fmt: skip
        self.up = nn.ModuleList(_layer(channels, fine, 1, relu=False) for channels in (coarse, coarsest))
        self.context = nn.Sequential(_layer(coarsest, coarse), _layer(coarse, fine, 1, relu=False))
        self.head = nn.Sequential(_layer(fine, fine), nn.Conv2d(fine, classes, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Logits, float32 (batch, class, height, width)."""
        fine: Tensor = self.shared(self.stem(x))
        coarse = fine
        for index, factor in enumerate((2, 4)):
            below, beside = self.coarse[index](coarse), self.fine[index](fine)
            coarse = F.relu(below + self.down[index](F.relu(beside)))
            fine = F.relu(beside + _enlarged(self.up[index](F.relu(below)), factor))
        fine = fine + _enlarged(self.context(coarse), 4)
        logits: Tensor = self.head(F.relu(fine))
        return _enlarged(_enlarged(logits, 4), 2)


def _enlarged(x: Tensor, factor: int) -> Tensor:
    return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)


def _layer(
    in_channels: int, out_channels: int, kernel: int = 3, *, stride: int = 1, relu: bool = True
) -> nn.Sequential:
    layers = [
        nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(out_channels),
        *([nn.ReLU()] if relu else []),
    ]
    return nn.Sequential(*layers)
