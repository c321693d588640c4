"""The networks that convert to video as they are, under the names users type."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeml.core.errors import UsageError, needs_extra
from edgeml.core.preprocessing import Preprocessing
from edgeml.models.network import Network
from edgeml.models.registry import register
from edgeml.models.tinynet.family import CONFIGS

if TYPE_CHECKING:
    from torch import nn

SEGMENTATION = "segmentation"
LITE = "tinynet-lite"

# Drawn scenes have this many classes of pixels (`edgeml.models.video.clips`).
_SCENE_CLASSES = 4
_CLASSES_LIMIT = 100_000
_CHANNELS_LIMIT = 256
_SIDE_LIMIT = 2048


@dataclass(frozen=True, kw_only=True)
class Member:
    """A segmentation network.

    Attributes:
        make: builds the module for so many classes and input channels.
        multiple: both sides of an image are multiples of it.
    """

    make: Callable[[int, int], nn.Module]
    multiple: int


def _encoder_decoder(classes: int, in_channels: int) -> nn.Module:
    from edgeml.models.video.networks.encoder_decoder import EncoderDecoder

    return EncoderDecoder(classes=classes, in_channels=in_channels)


def _two_branch(classes: int, in_channels: int) -> nn.Module:
    from edgeml.models.video.networks.two_branch import TwoBranch

    return TwoBranch(classes=classes, in_channels=in_channels)


MEMBERS = {
    "encoder-decoder": Member(make=_encoder_decoder, multiple=16),
    "two-branch": Member(make=_two_branch, multiple=32),
}
DEFAULT_SIZE = (128, 256)


def segmentation_preprocessing(height: int, width: int, channels: int = 3) -> Preprocessing:
    """How frames become inputs of a segmentation network: each channel from 0..255 to -2..2."""
    return Preprocessing(
        height=height, width=width, mean=(0.5,) * channels, std=(0.25,) * channels, interpolation="bilinear"
    )


def _check(classes: int, in_channels: int) -> None:
    if not 1 <= classes <= _CLASSES_LIMIT:
        raise UsageError(f"{classes} classes are out of range; allowed: 1 to {_CLASSES_LIMIT}")
    if not 1 <= in_channels <= _CHANNELS_LIMIT:
        raise UsageError(f"{in_channels} input channels are out of range; allowed: 1 to {_CHANNELS_LIMIT}")


def _register_segmentation(name: str, member: Member) -> None:
    @register(name, family=SEGMENTATION)
    def builder(*, classes: int | None, in_channels: int | None, resolution: int | None) -> Network:
        classes = _SCENE_CLASSES if classes is None else classes
        in_channels = 3 if in_channels is None else in_channels
        _check(classes, in_channels)
        if resolution is not None and (not 0 < resolution <= _SIDE_LIMIT or resolution % member.multiple):
            raise UsageError(
                f"resolution {resolution} does not fit {name}; allowed: multiples of {member.multiple} up to "
                f"{_SIDE_LIMIT}"
            )
        height, width = DEFAULT_SIZE if resolution is None else (resolution, resolution)
        with needs_extra("train"):
            module = member.make(classes, in_channels).eval()
        return Network(
            name=name,
            module=module,
            preprocessing=segmentation_preprocessing(height, width, in_channels),
            family=SEGMENTATION,
        )


def _register_lite(name: str) -> None:
    config = CONFIGS[name]

    @register(f"{name}-lite", family=LITE)
    def builder(*, classes: int | None, in_channels: int | None, resolution: int | None) -> Network:
        classes = 1000 if classes is None else classes
        in_channels = 3 if in_channels is None else in_channels
        _check(classes, in_channels)
        built = config if resolution is None else config.at_resolution(resolution)
        with needs_extra("train"):
            from edgeml.models.video.networks.tinynet_lite import TinyNetLite

            module = TinyNetLite(built, classes=classes, in_channels=in_channels).eval()
        return Network(name=f"{name}-lite", module=module, preprocessing=built.preprocessing(in_channels), family=LITE)


for _name, _member in MEMBERS.items():
    _register_segmentation(_name, _member)
for _name in ("tinynet-c", "tinynet-e"):
    _register_lite(_name)
