"""TinyNet without squeeze-and-excitation and with ReLU6, as EfficientNet-Lite is to EfficientNet.

Squeeze-and-excitation multiplies each channel by a number that depends on all pixels, so that one moving object
changes every value; and ReLU6 is a range of codes, where SiLU takes a table.
"""

from __future__ import annotations

import math

from torch import Tensor, nn

from edgeml.models.tinynet.config import STEM_CHANNELS, Stage, TinyNetConfig


class TinyNetLite(nn.Module):
    """An image classifier with the stages of a TinyNet.

    Args:
        config: resolution, width and depth; the size of the image is not fixed by it.
        classes: number of logits.
        in_channels: channels of the image.
    """

    def __init__(self, config: TinyNetConfig, *, classes: int = 1000, in_channels: int = 3) -> None:
        super().__init__()
        self.config = config
        self.stem = _layer(in_channels, STEM_CHANNELS, 3, stride=2)
        blocks: list[nn.Module] = []
        channels = STEM_CHANNELS
        for stage in config.stages:
            for index in range(stage.repeats):
                blocks.append(InvertedResidual(channels, stage, stage.stride if index == 0 else 1))
                channels = stage.channels
        self.blocks = nn.Sequential(*blocks)
        self.head = _layer(channels, config.head_channels, 1)
        self.dropout = nn.Dropout(0.0)
        self.classifier = nn.Linear(config.head_channels, classes)
        self.apply(_initialize)

    def forward(self, x: Tensor) -> Tensor:
        """Logits, float32 (batch, class), of images, float32 (batch, channels, height, width)."""
        x = self.head(self.blocks(self.stem(x)))
        logits: Tensor = self.classifier(self.dropout(x.mean((2, 3))))
        return logits


class InvertedResidual(nn.Module):
    """Expand where the stage does, depthwise convolution, project (Sandler et al., CVPR 2018, MobileNetV2)."""

    def __init__(self, in_channels: int, stage: Stage, stride: int) -> None:
        super().__init__()
        hidden = in_channels * stage.expansion
        expand = [_layer(in_channels, hidden, 1)] if stage.expansion > 1 else []
        self.layers = nn.Sequential(
            *expand,
            _layer(hidden, hidden, stage.kernel, stride=stride, groups=hidden),
            nn.Conv2d(hidden, stage.channels, 1, bias=False),
            nn.BatchNorm2d(stage.channels),
        )
        self.has_skip = stride == 1 and in_channels == stage.channels

    def forward(self, x: Tensor) -> Tensor:
        """float32 (batch, channels, height, width)."""
        y: Tensor = self.layers(x)
        return x + y if self.has_skip else y


def _layer(in_channels: int, out_channels: int, kernel: int, *, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU6(),
    )


def _initialize(module: nn.Module) -> None:
    """Draw weights as EfficientNet does: normal by a convolution's fan-out; the classifier's uniform by features."""
    if isinstance(module, nn.Conv2d):
        fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels // module.groups
        nn.init.normal_(module.weight, 0.0, math.sqrt(2.0 / fan_out))
    elif isinstance(module, nn.Linear):
        bound = 1.0 / math.sqrt(module.in_features)
        nn.init.uniform_(module.weight, -bound, bound)
        nn.init.zeros_(module.bias)
