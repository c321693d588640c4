"""Batched augmentation against what it should do to single pixels."""

from __future__ import annotations

import pytest
import torch

from edgeml.models.training.augmentation import AREA, augment, flip, jitter, random_boxes, random_resized_crop, shift
from edgeml.models.training.recipe import Augmentation

pytestmark = pytest.mark.torch


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pixels(count: int = 64, channels: int = 3) -> torch.Tensor:
    return torch.randint(0, 256, (count, channels, 9, 11), dtype=torch.uint8, generator=generator(1))


def test_each_image_is_mirrored_or_left() -> None:
    before = pixels()
    after = flip(before, generator())
    mirrored = [torch.equal(a, b.flip(2)) for a, b in zip(after, before, strict=True)]
    left = [torch.equal(a, b) for a, b in zip(after, before, strict=True)]
    assert all(m != n for m, n in zip(mirrored, left, strict=True))
    assert 16 < sum(mirrored) < 48


def test_shifted_images_are_moved_by_whole_pixels_and_filled_from_the_edge() -> None:
    before = pixels(8)
    after = shift(before, 0.2, generator())
    padded = torch.nn.functional.pad(before.float(), (2, 2, 2, 2), mode="replicate").to(torch.uint8)
    for image, source in zip(after, padded, strict=True):
        windows = [source[:, y : y + 9, x : x + 11] for y in range(5) for x in range(5)]
        assert any(torch.equal(image, window) for window in windows)
    assert not torch.equal(after, before)


def test_boxes_lie_in_the_image_and_have_the_published_range_of_areas() -> None:
    left, top, right, bottom = random_boxes(4000, 50, 50, generator()).unbind(1)
    assert bool((left >= 0).all() & (top >= 0).all() & (right <= 1.00001).all() & (bottom <= 1.00001).all())
    area = (right - left) * (bottom - top)
    assert area.min() >= AREA[0] - 1e-5
    assert 0.45 < area.mean() < 0.56
    aspect = ((right - left) / (bottom - top))[area < 0.5]
    assert bool((aspect > 0.7499).all() & (aspect < 1.3334).all())


def test_a_crop_of_a_ramp_is_a_ramp_over_the_box() -> None:
    ramp = torch.arange(100.0).expand(5, 1, 100, 100)
    left, _, right, _ = random_boxes(5, 100, 100, generator()).unbind(1)
    out = random_resized_crop(ramp, generator())
    # Pixel centre i of the output lies at left + (i + .5) / 100 of the box; ramp value = position - .5.
    expected = 100 * (left[:, None] + (torch.arange(100) + 0.5) / 100 * (right - left)[:, None]) - 0.5
    torch.testing.assert_close(out[:, 0, 50], expected.clamp(0, 99), atol=1e-2, rtol=0)


def test_jitter_stays_in_range_and_changes_grey_images_too() -> None:
    for channels in (1, 3):
        images = pixels(16, channels).float()
        out = jitter(images, 0.4, generator())
        assert out.min() >= 0
        assert out.max() <= 255
        assert not torch.allclose(out, images)
    assert torch.equal(jitter(images, 0.0, generator()), images)


@pytest.mark.parametrize("crop", ["random-resized", "shift", "none"])
def test_the_same_generator_gives_the_same_images(crop: str) -> None:
    recipe = Augmentation(crop=crop, shift=0.1, flip=True, jitter=0.2)  # type: ignore[arg-type]
    first, second = (augment(pixels(), recipe, generator(7)) for _ in range(2))
    assert torch.equal(first, second)
    assert first.shape == (64, 3, 9, 11)
    assert first.dtype == torch.float32
    assert not torch.equal(first, augment(pixels(), recipe, generator(8)))
