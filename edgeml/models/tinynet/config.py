"""The three numbers that make a TinyNet (resolution, width, depth), and everything that follows from them."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace

from edgeml.core.errors import UsageError
from edgeml.core.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing

BASE_RESOLUTION = 224
STEM_CHANNELS = 32
SMALL_FORM_MAX_RESOLUTION = 64

_HEAD_CHANNELS = 1280
_RESOLUTIONS = (8, 2048)
_MULTIPLIERS = (0.1, 8.0)
_NUMBER = r"\d+(?:\.\d+)?"
_NAME = re.compile(rf"tinynet-r(?P<r>\d+)-w(?P<w>{_NUMBER})-d(?P<d>{_NUMBER})(?P<small>-small)?")

SCALED_PREFIX = "tinynet-r"
SCALED_NAME_FORM = "tinynet-rPIXELS-wWIDTH-dDEPTH or tinynet-rPIXELS-wWIDTH-dDEPTH-small"


@dataclass(frozen=True)
class Stage:
    """A run of equal blocks; the first one carries the stride.

    Attributes:
        kernel: side of the depthwise kernel.
        stride: step of the first block.
        expansion: hidden channels per input channel of a block; 1 means no expanding convolution.
        channels: output channels.
        repeats: number of blocks.
    """

    kernel: int
    stride: int
    expansion: int
    channels: int
    repeats: int


# EfficientNet-B0's stages (Tan and Le, ICML 2019, table 1), which TinyNet keeps.
_STAGES = (
    Stage(kernel=3, stride=1, expansion=1, channels=16, repeats=1),
    Stage(kernel=3, stride=2, expansion=6, channels=24, repeats=2),
    Stage(kernel=5, stride=2, expansion=6, channels=40, repeats=2),
    Stage(kernel=3, stride=2, expansion=6, channels=80, repeats=3),
    Stage(kernel=5, stride=1, expansion=6, channels=112, repeats=3),
    Stage(kernel=5, stride=2, expansion=6, channels=192, repeats=4),
    Stage(kernel=3, stride=1, expansion=6, channels=320, repeats=1),
)
# Our choice, not a paper's: stage 2 keeps its input's size, so a 28 px image ends as a 2x2 map and not as one pixel,
# and the stages between see four times as many. On Fashion-MNIST it trains faster and gets further than with stages 4
# and 6 kept instead.
_SMALL_FORM_STRIDES = (1, 1, 2, 2, 1, 2, 1)


@dataclass(frozen=True)
class TinyNetConfig:
    """A network of the family. `parse` and `str` are inverses.

    Han et al., "Model Rubik's Cube: Twisting Resolution, Depth and Width for TinyNets", NeurIPS 2020.

    Attributes:
        resolution: side of the square input in pixels.
        width: multiplier of every stage's channels (the stem is fixed; the head never falls below 1280).
        depth: multiplier of every stage's number of blocks.
        small: the form for small images (28 to 64 px): stage 2 keeps its input's size, so the last map is a 16th of
            the image and not a 32nd. Weights have the same shapes in both forms.
    """

    resolution: int
    width: float
    depth: float
    small: bool = False

    def __post_init__(self) -> None:
        """Refuse numbers that make no network.

        Raises:
            UsageError: a number is outside its range.
        """
        low, high = _RESOLUTIONS
        if not low <= self.resolution <= high:
            raise UsageError(f"resolution {self.resolution} is out of range; allowed: {low} to {high} pixels")
        low_multiplier, high_multiplier = _MULTIPLIERS
        for word, value in (("width", self.width), ("depth", self.depth)):
            if not (math.isfinite(value) and low_multiplier <= value <= high_multiplier):
                raise UsageError(f"{word} {value} is out of range; allowed: {low_multiplier:g} to {high_multiplier:g}")

    @classmethod
    def parse(cls, name: str) -> TinyNetConfig:
        """The configuration that a scaled name such as "tinynet-r28-w0.35-d0.5-small" stands for.

        Raises:
            UsageError: the name has another form, or a number is out of range.
        """
        match = _NAME.fullmatch(name)
        if match is None:
            raise UsageError(f"{name!r} is not the name of a scaled network; the form is {SCALED_NAME_FORM}")
        return cls(int(match["r"]), float(match["w"]), float(match["d"]), small=match["small"] is not None)

    def __str__(self) -> str:
        suffix = "-small" if self.small else ""
        return f"tinynet-r{self.resolution}-w{_shortest(self.width)}-d{_shortest(self.depth)}{suffix}"

    def at_resolution(self, resolution: int) -> TinyNetConfig:
        """The same network for another image size; 64 px and less take the small form.

        Weights made for one size fit the other, but a network in the small form computes another function than the
        same weights in the large one.
        """
        if resolution == self.resolution:
            return self
        return replace(self, resolution=resolution, small=self.small or resolution <= SMALL_FORM_MAX_RESOLUTION)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The seven stages after scaling."""
        strides = _SMALL_FORM_STRIDES if self.small else tuple(stage.stride for stage in _STAGES)
        return tuple(
            replace(
                stage,
                stride=stride,
                channels=round_channels(stage.channels * self.width),
                repeats=max(1, round(stage.repeats * self.depth)),
            )
            for stage, stride in zip(_STAGES, strides, strict=True)
        )

    @property
    def head_channels(self) -> int:
        """Features that the classifier sees."""
        return max(_HEAD_CHANNELS, round_channels(_HEAD_CHANNELS * self.width))

    def preprocessing(self, in_channels: int = 3) -> Preprocessing:
        """How images become input: ImageNet's evaluation transform, or no crop in the small form.

        RGB is normalized by ImageNet's statistics; any other number of channels is mapped from [0, 1] to [-1, 1].
        """
        mean, std = (IMAGENET_MEAN, IMAGENET_STD) if in_channels == 3 else ((0.5,) * in_channels,) * 2
        return Preprocessing(
            height=self.resolution,
            width=self.resolution,
            mean=mean,
            std=std,
            interpolation="bicubic",
            crop_fraction=1.0 if self.small else 0.875,
        )


def round_channels(channels: float) -> int:
    """The multiple of 8 nearest to `channels`, at least 8, never more than a tenth below."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


def reduced_channels(in_channels: int) -> int:
    """Channels that squeeze-and-excitation squeezes to: a quarter of the block's INPUT channels."""
    return round(in_channels * 0.25)


def _shortest(value: float) -> str:
    return repr(float(value)).removesuffix(".0")
