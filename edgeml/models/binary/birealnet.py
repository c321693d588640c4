"""Bi-Real Net: ResNet-18 with a shortcut around every binary convolution (Liu et al., ECCV 2018)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor, nn

from edgeml.models.binary.blocks import BinaryBlock, BlockForm, LightStem

STAGE_CHANNELS = (64, 128, 256, 512)
_BLOCKS_A_STAGE = 4


@dataclass(frozen=True, kw_only=True)
class BiRealNetConfig:
    """What can be chosen.

    Attributes:
        stem: "conv7" is ResNet's (7x7 convolution, max pooling), "light" QuickNet's; both quarter the size.
        block: the blocks' form; Bi-Real Net's own by default.
    """

    stem: Literal["conv7", "light"] = "conv7"
    block: BlockForm = field(default_factory=BlockForm)


class BiRealNet(nn.Module):
    """Bi-Real-Net-18 as an image classifier: a real stem, 16 binary blocks in 4 stages, a real classifier."""

    def __init__(self, config: BiRealNetConfig | None = None, *, classes: int = 1000, in_channels: int = 3) -> None:
        super().__init__()
        config = config or BiRealNetConfig()
        self.config = config
        self.stem = _resnet_stem(in_channels) if config.stem == "conv7" else LightStem(in_channels, STAGE_CHANNELS[0])
        blocks: list[nn.Module] = []
        channels = STAGE_CHANNELS[0]
        for stage, width in enumerate(STAGE_CHANNELS):
            for index in range(_BLOCKS_A_STAGE):
                stride = 2 if stage > 0 and index == 0 else 1
                blocks.append(BinaryBlock(channels, width, stride, config.block))
                channels = width
        self.blocks = nn.Sequential(*blocks)
        self.classifier = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits, float32 (batch, class), of images, float32 (batch, channels, height, width)."""
        logits: Tensor = self.classifier(self.blocks(self.stem(x)).mean((2, 3)))
        return logits


def _resnet_stem(in_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, STAGE_CHANNELS[0], 7, stride=2, padding=3, bias=False),
        nn.BatchNorm2d(STAGE_CHANNELS[0]),
        nn.MaxPool2d(3, stride=2, padding=1),
    )
