"""How an image becomes a model's input; travels with the model in its manifest."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Interpolation = Literal["nearest", "bilinear", "bicubic"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


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

    @property
    def channels(self) -> int:
        """Number of input channels."""
        return len(self.mean)

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self) | {"mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Preprocessing:
        """Inverse of `to_json`."""
        return cls(**(value | {"mean": tuple(value["mean"]), "std": tuple(value["std"])}))
