"""The noise found in clips, and gate thresholds from it."""

from __future__ import annotations

import numpy as np
import pytest

from edgeml.core.errors import UsageError
from edgeml.core.preprocessing import Preprocessing
from edgeml.models.video.clips.gate_threshold import sigma_in_codes, suggest_threshold
from edgeml.models.video.clips.generated import SceneSettings, generated_clip
from edgeml.models.video.clips.noise import NoiseEstimate, estimate_noise


def estimate(sigma: float, *, panning: bool = False, objects: int = 5, seed: int = 0) -> NoiseEstimate:
    settings = SceneSettings(
        seed=seed, height=96, width=192, length=7, noise_sigma=sigma, panning=panning, most_objects=objects
    )
    return estimate_noise(frame.pixels for frame in generated_clip(settings))


@pytest.mark.parametrize("sigma", [1.0, 1.5, 2.0, 3.0])
@pytest.mark.parametrize("objects", [5, 12])
def test_the_noise_of_drawn_clips_is_found_within_15_percent(sigma: float, objects: int) -> None:
    found = estimate(sigma, objects=objects)
    assert found.sigma == pytest.approx(sigma, rel=0.15)
    assert found.reliable
    assert found.pairs == 6


@pytest.mark.parametrize("sigma", [0.0, 1.0, 2.0])
def test_a_panning_camera_leaves_no_reliable_estimate(sigma: float) -> None:
    assert not estimate(sigma, panning=True).reliable


def test_values_that_were_cut_off_are_left_out() -> None:
    generator = np.random.default_rng(0)
    level = np.where(np.arange(64) < 40, 254.0, 120.0)[None, :, None]
    frames = [
        np.clip(np.rint(level + 3 * generator.standard_normal((64, 64, 3))), 0, 255).astype(np.uint8) for _ in range(8)
    ]
    assert estimate_noise(frames).sigma == pytest.approx(3, rel=0.15)


def test_fewer_than_two_frames_and_two_sizes_are_refused() -> None:
    frame = np.zeros((16, 16, 3), np.uint8)
    with pytest.raises(UsageError, match="two frames or more"):
        estimate_noise([frame])
    with pytest.raises(UsageError, match="frames of one size"):
        estimate_noise([frame, frame[:8]])


@pytest.mark.parametrize("rms", [False, True])
@pytest.mark.parametrize("sigma", [2.0, 4.3])
@pytest.mark.parametrize("rate", [0.01, 0.1])
def test_noise_alone_activates_about_as_many_tiles_as_asked_for(sigma: float, rate: float, rms: bool) -> None:
    generator = np.random.default_rng(0)
    values = generator.uniform(50, 200, (6000, 8 * 8 * 3)).astype(np.float32)
    # Noise as measured has the rounding to codes in it.
    found = np.sqrt(sigma**2 + 1 / 12)
    threshold = suggest_threshold(found, false_activations=rate, rms=rms)
    x, previous = (np.rint(values + sigma * generator.standard_normal(values.shape, np.float32)) for _ in range(2))
    differences = (x - previous).astype(np.int64)
    if rms:
        active = 256 * (differences**2).sum(axis=1) > threshold**2 * values.shape[1]
    else:
        active = 16 * np.abs(differences).max(axis=1) > threshold
    assert rate / 8 < active.mean() < 1.35 * rate


def test_thresholds_grow_with_noise_and_tile_and_fall_with_the_rate() -> None:
    assert suggest_threshold(0) == 0
    for rms in (False, True):
        assert suggest_threshold(3, rms=rms) > suggest_threshold(2, rms=rms) > suggest_threshold(1, rms=rms)
        assert suggest_threshold(3, false_activations=1e-6, rms=rms) > suggest_threshold(3, rms=rms)
    assert suggest_threshold(3, tile=16) > suggest_threshold(3, tile=4)
    # The mean of many squares scatters less.
    assert suggest_threshold(3, tile=16, rms=True) < suggest_threshold(3, tile=4, rms=True)


@pytest.mark.parametrize(
    "arguments", [{"sigma": -1}, {"sigma": 1, "tile": 0}, {"sigma": 1, "false_activations": 0}, {"sigma": float("inf")}]
)
def test_arguments_out_of_range_are_refused(arguments: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="no gate threshold"):
        suggest_threshold(**arguments)  # type: ignore[arg-type]


def test_noise_of_pixels_becomes_noise_of_codes() -> None:
    shape = Preprocessing(height=8, width=8, mean=(0.5,) * 3, std=(0.25, 0.5, 0.25))
    # One code is one step of the pixels where the scale is 1 / (255 std).
    assert sigma_in_codes(2, shape, 1 / (255 * 0.25)) == pytest.approx(np.hypot(2, 12**-0.5))
    with pytest.raises(UsageError, match="frame scale 0"):
        sigma_in_codes(2, shape, 0)
