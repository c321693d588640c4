"""Evaluation transforms against Pillow and against the formula written out."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from edgeml.core.errors import UsageError
from edgeml.core.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Interpolation, Preprocessing
from edgeml.models.datasets import Dataset, default_preprocessing, open_dataset, to_samples
from edgeml.models.datasets.transforms import convert_channels, normalize, resize_and_crop, to_pixels

_IMAGENET = Preprocessing(height=224, width=224, mean=IMAGENET_MEAN, std=IMAGENET_STD, crop_fraction=0.875)


def photo(height: int, width: int, channels: int = 3) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)


def dataset(images: npt.NDArray[np.uint8]) -> Dataset:
    return Dataset(
        spec="npz:x",
        split="test",
        images=images,
        labels=np.zeros(len(images), np.int64),
        classes=("a",),
        channels=images.shape[3],
        digest=lambda: hashlib.sha256(images.tobytes()).hexdigest(),
    )


@pytest.mark.parametrize(("height", "width"), [(300, 500), (500, 300), (256, 256), (100, 80), (257, 333)])
def test_imagenets_transform_is_resize_256_and_centre_crop_224(height: int, width: int) -> None:
    image = photo(height, width)
    # torchvision's definition: shorter side to 256, the other to int(256 * longer / shorter); crop at round(half).
    size = (int(256 * width / height), 256) if height <= width else (256, int(256 * height / width))
    resized = Image.fromarray(image).resize(size, Image.Resampling.BICUBIC)
    left, top = round((size[0] - 224) / 2.0), round((size[1] - 224) / 2.0)
    expected = np.asarray(resized.crop((left, top, left + 224, top + 224)))
    np.testing.assert_array_equal(resize_and_crop(image, _IMAGENET), expected)


@pytest.mark.parametrize(("resolution", "cover"), [(192, 219), (188, 214), (184, 210), (152, 173), (106, 121)])
def test_tinynets_inputs_are_cut_from_the_size_timm_resizes_to(resolution: int, cover: int) -> None:
    form = Preprocessing(height=resolution, width=resolution, mean=IMAGENET_MEAN, std=IMAGENET_STD, crop_fraction=0.875)
    image = photo(cover, cover)
    start = round((cover - resolution) / 2)
    # An image that has the covering size already is only cropped.
    np.testing.assert_array_equal(
        resize_and_crop(image, form), image[start : start + resolution, start : start + resolution]
    )


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic"])
def test_grey_images_are_enlarged_as_pillow_does(interpolation: Interpolation) -> None:
    form = Preprocessing(height=28, width=28, mean=(0.5,), std=(0.5,), interpolation=interpolation)
    image = photo(8, 8, 1)
    expected = Image.fromarray(image[..., 0]).resize((28, 28), Image.Resampling[interpolation.upper()])
    np.testing.assert_array_equal(resize_and_crop(image, form)[..., 0], np.asarray(expected))


def test_an_oblong_input_is_covered_on_both_sides() -> None:
    form = Preprocessing(height=20, width=60, mean=(0.5,), std=(0.5,))
    assert resize_and_crop(photo(50, 50, 1), form).shape == (20, 60, 1)


def test_rgb_to_grey_is_pillows_luma() -> None:
    image = photo(40, 50)
    np.testing.assert_array_equal(convert_channels(image, 1)[..., 0], np.asarray(Image.fromarray(image).convert("L")))


def test_grey_to_rgb_repeats_the_channel() -> None:
    image = photo(4, 5, 1)
    assert (convert_channels(image, 3) == image).all()
    with pytest.raises(UsageError, match="cannot become inputs with 4"):
        convert_channels(image, 4)


def test_normalization_is_the_formula_in_float64_to_rounding() -> None:
    pixels = photo(6, 7)[np.newaxis]
    expected = (pixels.astype(np.float64) / 255 - IMAGENET_MEAN) / IMAGENET_STD
    inputs = normalize(pixels, _IMAGENET)
    assert inputs.shape == (1, 3, 6, 7)
    assert inputs.dtype == np.float32
    np.testing.assert_allclose(inputs, np.moveaxis(expected, -1, 1), rtol=1e-5, atol=1e-6)


def test_images_of_the_right_size_take_the_fast_path_to_the_same_values() -> None:
    data = dataset(np.stack([photo(8, 8, 1)] * 3))
    form = default_preprocessing(data)
    slow = np.stack([resize_and_crop(image, form) for image in np.asarray(data.images)])
    np.testing.assert_array_equal(to_pixels(data, form), slow)


def test_samples_are_inputs_with_labels_and_classes() -> None:
    data = open_dataset("digits")
    samples = to_samples(data, default_preprocessing(data, resolution=28), limit=50)
    assert samples.inputs.shape == (50, 1, 28, 28)
    assert samples.name == "digits:test"
    assert samples.classes == data.classes
    np.testing.assert_array_equal(samples.labels, data.labels[data.spread(50)])
    assert len(to_samples(data, default_preprocessing(data))) == len(data)


def test_digits_statistics_are_those_of_the_training_split() -> None:
    data = open_dataset("digits:train")
    inputs = to_samples(data, default_preprocessing(data)).inputs
    assert abs(inputs.mean()) < 1e-3
    assert abs(inputs.std() - 1) < 1e-3


def test_inputs_that_would_not_fit_into_memory_are_refused() -> None:
    data = dataset(np.zeros((20_000, 1, 1, 3), np.uint8))
    with pytest.raises(UsageError, match="use fewer samples"):
        to_samples(data, _IMAGENET)


def test_photos_in_folders_need_a_resolution(tmp_path: Path) -> None:
    (tmp_path / "test" / "a").mkdir(parents=True)
    Image.new("RGB", (9, 9)).save(tmp_path / "test" / "a" / "1.png")
    data = open_dataset(f"folder:{tmp_path}")
    with pytest.raises(UsageError, match="give a resolution"):
        default_preprocessing(data)
    assert default_preprocessing(data, resolution=224) == _IMAGENET
