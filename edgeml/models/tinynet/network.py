"""The network itself: stem, seven stages, head and classifier, built from a configuration."""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn import functional as F

from edgeml.core.errors import UsageError
from edgeml.models.tinynet.blocks import DepthwiseSeparable, DropPath, InvertedResidual
from edgeml.models.tinynet.config import STEM_CHANNELS, Stage, TinyNetConfig


class TinyNet(nn.Module):
    """TinyNet or EfficientNet-B0 as an image classifier.

    State dict keys, shapes and outputs equal those of timm's `tinynet_a` ... `tinynet_e` and `efficientnet_b0`.
    Fresh weights are drawn as EfficientNet's. `resolution` is the size the network is meant for; any size that is not
    too small for the strides can be fed.
    """

    def __init__(self, config: TinyNetConfig, *, classes: int = 1000, in_channels: int = 3) -> None:
        super().__init__()
        self.config = config
        self.conv_stem = nn.Conv2d(in_channels, STEM_CHANNELS, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(STEM_CHANNELS)
        stages: list[nn.Module] = []
        channels = STEM_CHANNELS
        for stage in config.stages:
            stages.append(_build_stage(channels, stage))
            channels = stage.channels
        self.blocks = nn.Sequential(*stages)
        self.conv_head = nn.Conv2d(channels, config.head_channels, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(config.head_channels)
        self.dropout = nn.Dropout(0.0)
        self.classifier = nn.Linear(config.head_channels, classes)
        self.apply(_initialize)

    def forward(self, x: Tensor) -> Tensor:
        """Logits, float32 (batch, class), of images, float32 (batch, channels, height, width)."""
        x = F.silu(self.bn1(self.conv_stem(x)))
        x = self.blocks(x)
        x = F.silu(self.bn2(self.conv_head(x)))
        logits: Tensor = self.classifier(self.dropout(x.mean((2, 3))))
        return logits

    def regularize(self, *, dropout: float = 0.0, drop_path: float = 0.0) -> None:
        """Set what training switches off at random; evaluation is not touched by it.

        Args:
            dropout: share of the classifier's inputs that are zeroed (TinyNet's recipe: 0.2).
            drop_path: how often the last residual branch is left out; earlier ones proportionally less.

        Raises:
            UsageError: a rate is not in [0, 1).
        """
        for word, rate in (("dropout", dropout), ("drop_path", drop_path)):
            if not 0 <= rate < 1:
                raise UsageError(f"{word} {rate} is out of range; allowed: 0 up to, but not, 1")
        self.dropout.p = dropout
        paths = [module for module in self.blocks.modules() if isinstance(module, DropPath)]
        for index, path in enumerate(paths):
            path.rate = drop_path * index / len(paths)


def _build_stage(in_channels: int, stage: Stage) -> nn.Sequential:
    block = DepthwiseSeparable if stage.expansion == 1 else InvertedResidual
    first = block(in_channels, stage, stage.stride)
    return nn.Sequential(first, *(block(stage.channels, stage, 1) for _ in range(stage.repeats - 1)))


def _initialize(module: nn.Module) -> None:
    """Draw weights as EfficientNet does: normal by a convolution's fan-out, uniform for the classifier."""
    if isinstance(module, nn.Conv2d):
        fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels // module.groups
        nn.init.normal_(module.weight, 0.0, math.sqrt(2.0 / fan_out))
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Linear):
        # EfficientNet divides by the root of the classes; with ten of them the first logits, and the first loss, are so
        # large that training takes epochs to recover. By features it is the same for 1000 classes, and right for few.
        bound = 1.0 / math.sqrt(module.in_features)
        nn.init.uniform_(module.weight, -bound, bound)
        nn.init.zeros_(module.bias)
