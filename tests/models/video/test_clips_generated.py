"""Drawn clips: determinism, masks, moving pixels, noise."""

from __future__ import annotations

import hashlib
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from edgeml.core.errors import UsageError
from edgeml.models.video.clips.generated import Scene, SceneSettings, generated_clip
from edgeml.models.video.clips.moving_objects import CLASSES
from edgeml.models.video.clips.opening import open_clip
from edgeml.models.video.clips.training_set import TrainingFrames


def small(**settings: Any) -> SceneSettings:
    return SceneSettings(height=48, width=96, **settings)


def test_the_same_settings_give_the_same_frames_from_any_start() -> None:
    settings = small(seed=3, length=12)
    whole = list(generated_clip(settings))
    again = list(generated_clip(settings, first=5))
    assert [frame.index for frame in again] == list(range(5, 12))
    for frame, other in zip(whole[5:], again, strict=True):
        assert np.array_equal(frame.pixels, other.pixels)
        assert frame.mask is not None
        assert other.mask is not None
        assert np.array_equal(frame.mask, other.mask)
        assert frame.time_s == other.time_s
    other_scene = next(iter(generated_clip(small(seed=4, length=1))))
    assert not np.array_equal(other_scene.pixels, whole[0].pixels)


def test_moving_pixels_are_those_whose_clean_codes_changed() -> None:
    scene = Scene(small(seed=1))
    frames = list(open_clip("video:generated/1:0-8:48x96"))
    clean = [np.rint(scene.draw(index)[0]) for index in range(8)]
    assert frames[0].moving is not None
    assert not frames[0].moving.any()
    for (before, now), frame in zip(pairwise(clean), frames[1:], strict=True):
        assert frame.moving is not None
        assert np.array_equal(frame.moving, (before != now).any(axis=-1))


def test_the_background_stands_still_with_a_fixed_camera_and_moves_with_a_panning_one() -> None:
    for spec, still in (("video:generated:0-6", True), ("video:generated-panning:0-6", False)):
        frames = list(open_clip(spec))
        moving = np.mean([frame.moving.mean() for frame in frames[1:] if frame.moving is not None])
        assert (moving < 0.3) == still
        assert (moving > 0.9) != still
    # Both cameras start from the same picture.
    assert np.array_equal(
        next(iter(open_clip("video:generated"))).pixels, next(iter(open_clip("video:generated-panning"))).pixels
    )


@pytest.mark.parametrize("sigma", [1.0, 2.0, 3.0])
def test_the_noise_has_the_deviation_asked_for(sigma: float) -> None:
    scene = Scene(SceneSettings(seed=2, noise_sigma=sigma))
    picture, _ = scene.draw(0)
    error = scene.noisy(picture, 0) - picture.astype(np.float64)
    inner = (picture > 20) & (picture < 235)
    assert abs(error[inner].mean()) < 0.05
    # Rounding to codes adds a twelfth to the variance.
    assert error[inner].std() == pytest.approx(np.sqrt(sigma**2 + 1 / 12), rel=0.02)
    assert not np.array_equal(scene.noisy(picture, 0), scene.noisy(picture, 1))


def test_masks_hold_every_class_and_objects_enter_leave_and_hide_each_other() -> None:
    counts = []
    for seed in range(6):
        scene = Scene(small(seed=seed, noise_sigma=0, fewest_objects=4))
        for index in range(0, 200, 20):
            picture, mask = scene.draw(index)
            assert picture.dtype == np.float32
            assert picture.min() >= 0
            assert picture.max() <= 255
            counts.append(np.bincount(mask.ravel(), minlength=len(CLASSES)))
    shares = np.array(counts) / mask.size
    assert shares.shape[1] == len(CLASSES) == 4
    assert (shares.mean(axis=0) > 0.005).all()
    objects = shares[:, 1:].sum(axis=1)
    assert objects.max() - objects.min() > 0.05


def test_light_changes_only_where_asked_for() -> None:
    def brightness(illumination: float) -> float:
        scene = Scene(small(seed=1, fewest_objects=0, most_objects=0, illumination=illumination))
        return float(scene.draw(50)[0].mean() / scene.draw(0)[0].mean())

    assert brightness(0) == 1
    assert brightness(0.2) == pytest.approx(1.2, abs=0.01)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seed": -1}, "seed -1"),
        ({"length": 0}, "length 0"),
        ({"height": 8}, "8x256 pixels is not allowed"),
        ({"fewest_objects": 6}, "6 to 5 objects"),
        ({"noise_sigma": float("nan")}, "noise nan"),
        ({"illumination": 1.0}, "illumination 1.0"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        SceneSettings(**settings)


def test_a_start_behind_the_end_is_refused() -> None:
    with pytest.raises(UsageError, match="has frames 0 to 4, not 5"):
        generated_clip(SceneSettings(length=5), first=5)


def test_training_frames_are_the_same_on_every_pass_and_share_no_scene_with_clips() -> None:
    frames = TrainingFrames(scenes=3, frames_a_scene=2, height=48, width=96)
    pixels, masks = frames.arrays()
    assert pixels.shape == (6, 48, 96, 3)
    assert masks.shape == (6, 48, 96)
    for (picture, mask), one, other in zip(frames, pixels, masks, strict=True):
        assert np.array_equal(picture, one)
        assert np.array_equal(mask, other)
    assert len({hashlib.sha256(mask.tobytes()).digest() for mask in masks}) == 6
    with pytest.raises(UsageError, match="0 scenes of 1 frames"):
        TrainingFrames(scenes=0)
