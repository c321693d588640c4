"""A small binary network for pictures of 28 to 32 pixels, which trains in minutes on two cores."""

from __future__ import annotations

from torch import Tensor, nn

from edgeml.models.binary.blocks import BinaryBlock, BlockForm

_STEM_CHANNELS = 64
# Channels and stride of each block: half the images' size first, then a quarter.
_BLOCKS = ((64, 1), (64, 1), (128, 2), (128, 1), (128, 1))


class BinaryNetSmall(nn.Module):
    """Bi-Real blocks with ReActNet's thresholds and activations, between a real first convolution and classifier."""

    def __init__(self, *, classes: int = 10, in_channels: int = 1) -> None:
        super().__init__()
        form = BlockForm(activation="rprelu", learned_threshold=True)
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, _STEM_CHANNELS, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(_STEM_CHANNELS)
        )
        blocks: list[nn.Module] = []
        channels = _STEM_CHANNELS
        for width, stride in _BLOCKS:
            blocks.append(BinaryBlock(channels, width, stride, form))
            channels = width
        self.blocks = nn.Sequential(*blocks)
        self.dropout = nn.Dropout(0.0)
        self.classifier = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits, float32 (batch, class), of images, float32 (batch, channels, height, width)."""
        logits: Tensor = self.classifier(self.dropout(self.blocks(self.stem(x)).mean((2, 3))))
        return logits
