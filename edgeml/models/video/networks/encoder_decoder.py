"""A compact encoder-decoder of 3x3 convolutions for segmentation, after U-Net (Ronneberger et al., MICCAI 2015).

BatchNorm and ReLU after every convolution, skips by concatenation, upsampling without weights.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from edgeml.core.errors import UsageError

Upsampling = Literal["nearest", "bilinear"]
_LEVELS = 5


class EncoderDecoder(nn.Module):
    """Logits for every pixel; each level of the encoder halves the size of the one before.

    Args:
        classes: of pixels.
        in_channels: of the image.
        channels: of each level, the finest first, from two to five levels; the finest is at half of the image's size.
        upsampling: how a level is brought to the size of the finer one.

    Raises:
        UsageError: a number is out of range.
    """

    def __init__(
        self,
        *,
        classes: int = 19,
        in_channels: int = 3,
        channels: tuple[int, ...] = (32, 48, 64, 96),
        upsampling: Upsampling = "nearest",
    ) -> None:
        super().__init__()
        if not 2 <= len(channels) <= _LEVELS or min(channels) < 1:
            raise UsageError(f"channels {channels}; allowed: two to {_LEVELS} levels of 1 or more channels")
        if upsampling not in {"nearest", "bilinear"}:
            raise UsageError(f"upsampling {upsampling!r}; allowed: nearest, bilinear")
        if min(classes, in_channels) < 1:
            raise UsageError(f"{classes} classes of {in_channels} input channels; both must be 1 or more")
        finer = (in_channels, *channels[:-1])
        self.encoder = nn.ModuleList(
            nn.Sequential(_layer(before, level, stride=2), _layer(level, level))
            for before, level in zip(finer, channels, strict=True)
        )
        self.decoder = nn.ModuleList(
            _layer(coarse + fine, fine) for coarse, fine in zip(channels[:0:-1], channels[-2::-1], strict=True)
        )
        self.upsample = nn.Upsample(scale_factor=2, mode=upsampling)
        self.classifier = nn.Conv2d(channels[0], classes, 1)
        _initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        """Logits, float32 (batch, class, height, width), of images whose sides are multiples of the last level's."""
        levels = []
        for level in self.encoder:
            x = level(x)
            levels.append(x)
        for layer, fine in zip(self.decoder, levels[-2::-1], strict=True):
            x = layer(torch.cat((self.upsample(x), fine), 1))
        logits: Tensor = self.upsample(self.classifier(x))
        return logits


def _layer(in_channels: int, out_channels: int, *, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False), nn.BatchNorm2d(out_channels), nn.ReLU()
    )


def _initialize(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
