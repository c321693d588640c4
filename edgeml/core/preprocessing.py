"""How an image becomes a model's input; travels with the model in its manifest."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, cast, get_args

from edgeml.core.errors import UsageError
from edgeml.core.json_values import integer, items, number, record, string

Interpolation = Literal["nearest", "bilinear", "bicubic"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

_SIDE_LIMIT = 1 << 14
_CHANNEL_LIMIT = 1 << 10


@dataclass(frozen=True)
class Preprocessing:
    """Evaluation transform: resize, centre crop, scale to [0, 1], normalize per channel.

    Attributes:
        height: input height in pixels.
        width: input width in pixels.
        mean: per-channel mean of pixels in [0, 1]; its length is the number of channels (1 grey, 3 RGB).
        std: per-channel standard deviation, same length.
        interpolation: resampling filter.
        crop_fraction: share of the resized image's shorter side that the centre crop keeps (timm's crop_pct).
    """

    height: int
    width: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: Interpolation = "bicubic"
    crop_fraction: float = 1.0

    def __post_init__(self) -> None:
        if not (0 < self.height <= _SIDE_LIMIT and 0 < self.width <= _SIDE_LIMIT):
            raise UsageError(
                f"input size {self.height}x{self.width} is not allowed; each side has 1 to {_SIDE_LIMIT} pixels"
            )
        if not 0 < len(self.mean) == len(self.std) <= _CHANNEL_LIMIT:
            raise UsageError(
                f"{len(self.mean)} means and {len(self.std)} standard deviations; one each a channel is needed"
            )
        if not all(math.isfinite(mean) for mean in self.mean) or not all(0 < std < math.inf for std in self.std):
            raise UsageError(f"mean {self.mean} and std {self.std} must be finite, std above 0")
        if self.interpolation not in get_args(Interpolation):
            raise UsageError(
                f"unknown interpolation {self.interpolation!r}; allowed: {', '.join(get_args(Interpolation))}"
            )
        if not 0 < self.crop_fraction <= 1:
            raise UsageError(f"crop fraction {self.crop_fraction} is not allowed; it is above 0 and at most 1")

    @property
    def channels(self) -> int:
        """Number of input channels."""
        return len(self.mean)

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self) | {"mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Preprocessing:
        """Inverse of `to_json`.

        Raises:
            UsageError: the values are not those of a Preprocessing.
        """
        values = record("preprocessing", value, [field.name for field in fields(cls)])
        return cls(
            height=integer("height", values["height"]),
            width=integer("width", values["width"]),
            mean=tuple(number("mean", each) for each in items("mean", values["mean"])),
            std=tuple(number("std", each) for each in items("std", values["std"])),
            interpolation=cast("Interpolation", string("interpolation", values["interpolation"])),
            crop_fraction=number("crop_fraction", values["crop_fraction"]),
        )
