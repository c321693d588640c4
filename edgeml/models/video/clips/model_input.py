"""Turns frames, and masks beside them, into what a network takes, with the transforms that images go through."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgeml.core.preprocessing import Preprocessing
from edgeml.models.datasets.transforms import convert_channels, normalize, resize_and_crop
from edgeml.models.video.clips.clip import Mask, Pixels


def to_input(pixels: Pixels, preprocessing: Preprocessing) -> npt.NDArray[np.float32]:
    """One frame as a model's input: float32 (1, channels, height, width), resized, cropped and normalized.

    Args:
        pixels: uint8 (height, width, 3), RGB.
        preprocessing: what the model expects.

    Raises:
        MissingError: the size differs and Pillow is not installed.
        UsageError: the model's channels are neither 1 nor 3.
    """
    image = convert_channels(resize_and_crop(pixels, preprocessing), preprocessing.channels)
    return normalize(image[np.newaxis], preprocessing)


def resize_to(pixels: Pixels, height: int, width: int) -> Pixels:
    """The middle of the frame scaled, in its proportions, until it covers `height` x `width`: uint8 of that size."""
    shape = Preprocessing(height=height, width=width, mean=(0.0,) * 3, std=(1.0,) * 3, interpolation="bilinear")
    return np.ascontiguousarray(resize_and_crop(pixels, shape))


def resize_mask(mask: Mask, preprocessing: Preprocessing) -> Mask:
    """A mask cut out and scaled (nearest) as `to_input` does its frame: uint8 (height, width)."""
    shape = Preprocessing(
        height=preprocessing.height,
        width=preprocessing.width,
        mean=(0.0,),
        std=(1.0,),
        interpolation="nearest",
        crop_fraction=preprocessing.crop_fraction,
    )
    return np.ascontiguousarray(resize_and_crop(mask[..., np.newaxis], shape)[..., 0])
