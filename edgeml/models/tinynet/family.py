"""The published members of the family, under the names users type, and what their papers report."""

from __future__ import annotations

from dataclasses import dataclass

from edgeml.core.errors import UsageError, needs_extra
from edgeml.models.network import Network
from edgeml.models.registry import Builder, register
from edgeml.models.tinynet.config import SCALED_PREFIX, TinyNetConfig

_PAPER = "Han et al., NeurIPS 2020 (arXiv:2010.14819)"
_RELEASE = "weights released by the authors, timm's tinynet_{letter}.in1k"
_CLASSES_LIMIT = 100_000
_CHANNELS_LIMIT = 256


@dataclass(frozen=True, kw_only=True)
class Published:
    """ImageNet-1k accuracy in percent as published, not measured by edgeml.

    Attributes:
        paper_top1: top-1 in the paper.
        paper: the paper.
        weights_top1: top-1 of the released weights.
        weights_top5: top-5 of the released weights.
        weights: the released weights.
    """

    paper_top1: float
    paper: str
    weights_top1: float
    weights_top5: float
    weights: str


CONFIGS: dict[str, TinyNetConfig] = {
    "tinynet-a": TinyNetConfig(192, 1.0, 1.2),
    "tinynet-b": TinyNetConfig(188, 0.75, 1.1),
    "tinynet-c": TinyNetConfig(184, 0.54, 0.85),
    "tinynet-d": TinyNetConfig(152, 0.54, 0.695),
    "tinynet-e": TinyNetConfig(106, 0.51, 0.6),
    "efficientnet-b0": TinyNetConfig(224, 1.0, 1.0),
}

PUBLISHED: dict[str, Published] = {
    f"tinynet-{letter}": Published(
        paper_top1=paper_top1,
        paper=_PAPER,
        weights_top1=weights_top1,
        weights_top5=weights_top5,
        weights=_RELEASE.format(letter=letter),
    )
    for letter, paper_top1, weights_top1, weights_top5 in (
        ("a", 76.8, 77.666, 93.532),
        ("b", 75.0, 74.946, 92.194),
        ("c", 71.2, 71.214, 89.746),
        ("d", 67.0, 66.936, 87.078),
        ("e", 59.9, 59.874, 81.774),
    )
}


def find_config(name: str) -> TinyNetConfig | None:
    """The configuration of a published or scaled network; None for a network of another kind."""
    if name in CONFIGS:
        return CONFIGS[name]
    return TinyNetConfig.parse(name) if name.startswith(SCALED_PREFIX) else None


def scaled(name: str) -> Builder:
    """Builder of the network that a scaled name stands for.

    Raises:
        UsageError: the name has another form, or a number is out of range.
    """
    return _builder(name, TinyNetConfig.parse(name))


def _builder(name: str, config: TinyNetConfig) -> Builder:
    def build(*, classes: int | None, in_channels: int | None, resolution: int | None) -> Network:
        classes = 1000 if classes is None else classes
        in_channels = 3 if in_channels is None else in_channels
        if not 1 <= classes <= _CLASSES_LIMIT:
            raise UsageError(f"{classes} classes are out of range; allowed: 1 to {_CLASSES_LIMIT}")
        if not 1 <= in_channels <= _CHANNELS_LIMIT:
            raise UsageError(f"{in_channels} input channels are out of range; allowed: 1 to {_CHANNELS_LIMIT}")
        built = config if resolution is None else config.at_resolution(resolution)
        with needs_extra("train"):
            from edgeml.models.tinynet.network import TinyNet

        module = TinyNet(built, classes=classes, in_channels=in_channels).eval()
        return Network(name=name, module=module, preprocessing=built.preprocessing(in_channels), family=family_of(name))

    return build


def family_of(name: str) -> str:
    """The part of a network's name before the first dash."""
    return name.partition("-")[0]


for _name, _config in CONFIGS.items():
    register(_name, family=family_of(_name))(_builder(_name, _config))
