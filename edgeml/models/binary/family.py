"""The binary networks, under the names users type."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeml.core.errors import UsageError, needs_extra
from edgeml.core.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from edgeml.models.network import Network
from edgeml.models.registry import register

if TYPE_CHECKING:
    from torch import nn

FAMILY = "binary"

_RESOLUTIONS = (8, 2048)
_CLASSES_LIMIT = 100_000
_CHANNELS_LIMIT = 256


@dataclass(frozen=True, kw_only=True)
class Member:
    """One network with what it is built for when nothing is asked.

    Attributes:
        make: builds the module for so many classes and input channels at a resolution in pixels.
        classes: logits.
        in_channels: channels of the images.
        resolution: height and width of the images in pixels.
    """

    make: Callable[[int, int, int], nn.Module]
    classes: int
    in_channels: int
    resolution: int

    @property
    def crop_fraction(self) -> float:
        """Share of an image that is used: ImageNet's evaluation crop, or all of a small picture."""
        return 0.875 if self.resolution > 64 else 1.0


def _birealnet18(classes: int, in_channels: int, _resolution: int) -> nn.Module:
    from edgeml.models.binary.birealnet import BiRealNet

    return BiRealNet(classes=classes, in_channels=in_channels)


def _birealnet18_light(classes: int, in_channels: int, _resolution: int) -> nn.Module:
    from edgeml.models.binary.birealnet import BiRealNet, BiRealNetConfig

    return BiRealNet(BiRealNetConfig(stem="light"), classes=classes, in_channels=in_channels)


def _vgg_small(classes: int, in_channels: int, resolution: int) -> nn.Module:
    from edgeml.models.binary.vgg_small import VggSmall

    return VggSmall(resolution=resolution, classes=classes, in_channels=in_channels)


def _quicknet(classes: int, in_channels: int, _resolution: int) -> nn.Module:
    from edgeml.models.binary.quicknet import QuickNet

    return QuickNet(classes=classes, in_channels=in_channels)


def _binarynet_small(classes: int, in_channels: int, _resolution: int) -> nn.Module:
    from edgeml.models.binary.small import BinaryNetSmall

    return BinaryNetSmall(classes=classes, in_channels=in_channels)


MEMBERS = {
    "birealnet18": Member(make=_birealnet18, classes=1000, in_channels=3, resolution=224),
    "birealnet18-light": Member(make=_birealnet18_light, classes=1000, in_channels=3, resolution=224),
    "quicknet": Member(make=_quicknet, classes=1000, in_channels=3, resolution=224),
    "vgg-small": Member(make=_vgg_small, classes=10, in_channels=3, resolution=32),
    "binarynet-small": Member(make=_binarynet_small, classes=10, in_channels=1, resolution=28),
}


def build(name: str, *, classes: int | None, in_channels: int | None, resolution: int | None) -> Network:
    """The network `name` with fresh weights; None takes the member's own value.

    Raises:
        UsageError: a value is out of range.
        MissingError: torch is not installed.
    """
    member = MEMBERS[name]
    classes = member.classes if classes is None else classes
    in_channels = member.in_channels if in_channels is None else in_channels
    resolution = member.resolution if resolution is None else resolution
    if not 1 <= classes <= _CLASSES_LIMIT:
        raise UsageError(f"{classes} classes are out of range; allowed: 1 to {_CLASSES_LIMIT}")
    if not 1 <= in_channels <= _CHANNELS_LIMIT:
        raise UsageError(f"{in_channels} input channels are out of range; allowed: 1 to {_CHANNELS_LIMIT}")
    if not _RESOLUTIONS[0] <= resolution <= _RESOLUTIONS[1]:
        raise UsageError(f"resolution {resolution} is out of range; allowed: {_RESOLUTIONS[0]} to {_RESOLUTIONS[1]}")
    with needs_extra("train"):
        module = member.make(classes, in_channels, resolution).eval()
    mean, std = (IMAGENET_MEAN, IMAGENET_STD) if in_channels == 3 else ((0.5,) * in_channels,) * 2
    preprocessing = Preprocessing(
        height=resolution, width=resolution, mean=mean, std=std, crop_fraction=member.crop_fraction
    )
    return Network(name=name, module=module, preprocessing=preprocessing, family=FAMILY)


def _register(name: str) -> None:
    @register(name, family=FAMILY)
    def builder(*, classes: int | None, in_channels: int | None, resolution: int | None) -> Network:
        return build(name, classes=classes, in_channels=in_channels, resolution=resolution)


for _name in MEMBERS:
    _register(_name)
