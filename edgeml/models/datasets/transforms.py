"""Turns images into model inputs: resize, centre crop, scale to [0, 1], normalize."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from edgeml.core.errors import UsageError, needs_extra
from edgeml.core.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from edgeml.core.samples import Samples
from edgeml.models.datasets.dataset import Dataset, Image

SAMPLES_LIMIT_BYTES = 8 << 30

# Of the training split's pixels in [0, 1].
_STATISTICS = {
    "fashion-mnist": ((0.2860,), (0.3530,)),
    "digits": ((0.3052,), (0.3759,)),
}


def default_preprocessing(dataset: Dataset, *, resolution: int | None = None) -> Preprocessing:
    """How images of `dataset` become inputs where no published network prescribes it.

    Known data sets are normalized by their own statistics, RGB data by ImageNet's, other grey data to [-1, 1].
    Photos in folders are resized and centre-cropped as ImageNet's are; images of one size are used whole.

    Args:
        dataset: the data.
        resolution: input height and width in pixels; None takes the images' own height and width.

    Raises:
        UsageError: the images differ in size and no resolution is given.
    """
    size = dataset.image_size
    if resolution is None and size is None:
        raise UsageError(f"the images of {dataset.spec!r} differ in size; give a resolution")
    height, width = (resolution, resolution) if resolution is not None or size is None else size
    assert height is not None
    assert width is not None
    grey = ((0.5,), (0.5,))
    mean, std = _STATISTICS.get(dataset.kind, grey if dataset.channels == 1 else (IMAGENET_MEAN, IMAGENET_STD))
    crop_fraction = 1.0 if size is not None else 0.875
    return Preprocessing(height=height, width=width, mean=mean, std=std, crop_fraction=crop_fraction)


def to_samples(dataset: Dataset, preprocessing: Preprocessing, limit: int | None = None) -> Samples:
    """Model inputs, float32 (sample, channels, height, width), with labels.

    Args:
        dataset: images and labels.
        preprocessing: what the model expects.
        limit: at most so many samples, spread evenly over the data set.

    Raises:
        UsageError: the inputs would take more than 8 GiB, or an image cannot be read.
    """
    chosen = dataset.spread(limit)
    size_bytes = 4 * len(chosen) * preprocessing.channels * preprocessing.height * preprocessing.width
    if size_bytes > SAMPLES_LIMIT_BYTES:
        raise UsageError(
            f"{len(chosen)} samples of {dataset.name} at {preprocessing.height}x{preprocessing.width} take "
            f"{size_bytes} bytes, more than the limit of {SAMPLES_LIMIT_BYTES}; use fewer samples or smaller data"
        )
    pixels = to_pixels(dataset, preprocessing, chosen)
    return Samples(dataset.name, normalize(pixels, preprocessing), dataset.labels[chosen], dataset.classes)


def to_pixels(
    dataset: Dataset, preprocessing: Preprocessing, chosen: npt.NDArray[np.int64] | None = None
) -> npt.NDArray[np.uint8]:
    """Images resized, cropped and converted, not yet normalized: uint8 (sample, height, width, channels).

    Args:
        dataset: the images.
        preprocessing: size and channels to reach.
        chosen: int64 indices of the samples wanted; None takes all.

    Raises:
        UsageError: an image cannot be read.
    """
    if chosen is None:
        chosen = np.arange(len(dataset))
    size = (preprocessing.height, preprocessing.width)
    if isinstance(dataset.images, np.ndarray) and dataset.image_size == size and preprocessing.crop_fraction == 1:
        return convert_channels(dataset.images[chosen], preprocessing.channels)
    images: Iterable[Image] = (dataset.images[int(index)] for index in chosen)
    pixels = np.empty((len(chosen), *size, preprocessing.channels), np.uint8)
    for row, image in zip(pixels, images, strict=True):
        row[:] = convert_channels(resize_and_crop(image, preprocessing), preprocessing.channels)
    return pixels


def resize_and_crop(image: Image, preprocessing: Preprocessing) -> Image:
    """The centre of the resized image: uint8 (height, width, channels) at the size `preprocessing` asks for.

    The image is resized, keeping its proportions, until it just covers floor(size / crop_fraction); of that the
    centre is cut out. For square inputs this is torchvision's Resize (shorter side) and CenterCrop.
    """
    height, width = image.shape[:2]
    cover_height = math.floor(preprocessing.height / preprocessing.crop_fraction)
    cover_width = math.floor(preprocessing.width / preprocessing.crop_fraction)
    # The side that needs the larger factor is met exactly; integer arithmetic, as torchvision computes the other one.
    if cover_height * width >= cover_width * height:
        new_height, new_width = cover_height, cover_height * width // height
    else:
        new_height, new_width = cover_width * height // width, cover_width
    if (new_height, new_width) != (height, width):
        image = _resize(image, new_height, new_width, preprocessing.interpolation)
    top = round((new_height - preprocessing.height) / 2)
    left = round((new_width - preprocessing.width) / 2)
    return image[top : top + preprocessing.height, left : left + preprocessing.width]


def convert_channels(images: Image, channels: int) -> Image:
    """Grey images as RGB or the reverse; uint8 (..., height, width, `channels`).

    Luma weights are ITU-R BT.601's in the fixed-point form Pillow uses.
    """
    present = images.shape[-1]
    if present == channels:
        return images
    if (present, channels) == (1, 3):
        return np.repeat(images, channels, axis=-1)
    if (present, channels) == (3, 1):
        weights = np.array([19595, 38470, 7471], np.uint32)
        luma = (images.astype(np.uint32) @ weights + 0x8000) >> 16
        return luma.astype(np.uint8)[..., np.newaxis]
    raise UsageError(f"images with {present} channels cannot become inputs with {channels}; 1 and 3 can be converted")


def normalize(pixels: npt.NDArray[np.uint8], preprocessing: Preprocessing) -> npt.NDArray[np.float32]:
    """(pixel / 255 - mean) / std.

    Args:
        pixels: uint8 (sample, height, width, channels).
        preprocessing: mean and std per channel.

    Returns:
        float32 (sample, channels, height, width).
    """
    mean = np.array(preprocessing.mean, np.float32).reshape(-1, 1, 1)
    std = np.array(preprocessing.std, np.float32).reshape(-1, 1, 1)
    inputs = np.ascontiguousarray(np.moveaxis(pixels, -1, 1)).astype(np.float32)
    inputs /= np.float32(255)
    inputs -= mean
    inputs /= std
    return inputs


def _resize(image: Image, height: int, width: int, interpolation: str) -> Image:
    with needs_extra("train"):
        from PIL import Image as PillowImage
    resampling = PillowImage.Resampling[interpolation.upper()]
    grey = image.shape[2] == 1
    source = PillowImage.fromarray(image[..., 0] if grey else image)
    resized = np.asarray(source.resize((width, height), resampling))
    return resized[..., np.newaxis] if grey else resized
