"""QuickNet: a binary network designed for speed, with a light stem (Bannink et al., Larq Compute Engine, MLSys 2021).

Written after the paper's description; padding is by zeros, where the original has ones, and the blur before a smaller
stage is a plain mean.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from edgeml.models.binary.blocks import BinaryBlock, BlockForm, LightStem

_STAGES = ((4, 64), (4, 128), (4, 256), (4, 512))  # blocks, channels


class Transition(nn.Module):
    """Halves the size with real weights between two stages: maximum, mean, pointwise convolution."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """float32 (batch, out_channels, ceil(height / 2), ceil(width / 2))."""
        x = F.max_pool2d(F.relu(x), 3, stride=1, padding=1)
        x = F.avg_pool2d(x, 2, ceil_mode=bool(x.shape[2] % 2 or x.shape[3] % 2))
        y: Tensor = self.bn(self.conv(x))
        return y


class QuickNet(nn.Module):
    """QuickNet as an image classifier: a light real stem, 16 binary blocks in 4 stages, a real classifier."""

    def __init__(self, *, classes: int = 1000, in_channels: int = 3) -> None:
        super().__init__()
        form = BlockForm(activation="relu", estimator="clipped_identity", weight_scale="one")
        channels = _STAGES[0][1]
        self.stem = LightStem(in_channels, channels)
        layers: list[nn.Module] = []
        for blocks, width in _STAGES:
            if width != channels:
                layers.append(Transition(channels, width))
            layers += [BinaryBlock(width, width, 1, form) for _ in range(blocks)]
            channels = width
        self.blocks = nn.Sequential(*layers)
        self.classifier = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits, float32 (batch, class), of images, float32 (batch, channels, height, width)."""
        logits: Tensor = self.classifier(F.relu(self.blocks(self.stem(x))).mean((2, 3)))
        return logits
