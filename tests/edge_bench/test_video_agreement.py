"""Agreement of answers, held against scikit-learn and against clips whose scores are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgeml.core.errors import UsageError
from edgeml.edge_bench.video.agreement import LEFT_OUT, agreement, moving_pixels
from edgeml.edge_bench.video.answers import NO_ANSWER, classes_of
from edgeml.edge_bench.video.clip_samples import ClipSamples

Maps = arrays.arrays(np.int16, (3, 4, 5), elements=st.integers(0, 3))


def clip(frames: int = 3, height: int = 4, width: int = 5, **known: Any) -> ClipSamples:
    return ClipSamples(name="clip", frames=np.zeros((frames, 1, height, width), np.float32), **known)


@settings(deadline=None, max_examples=25)
@given(found=Maps, expected=Maps)
def test_mean_iou_is_scikit_learns_macro_jaccard_index(
    found: npt.NDArray[np.int16], expected: npt.NDArray[np.int16]
) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    moving = np.zeros(found.shape, bool)
    moving[1:, 1:3] = True
    score = agreement(found, expected, clip(), moving).with_fp32
    assert score is not None

    def reference(chosen: npt.NDArray[np.bool_]) -> float:
        return float(metrics.jaccard_score(expected[chosen], found[chosen], average="macro"))

    assert score.value == pytest.approx(reference(np.ones(found.shape, bool)))
    assert score.moving == pytest.approx(reference(moving))
    for index in range(3):
        only = np.zeros(found.shape, bool)
        only[index] = True
        assert score.per_frame[index] == pytest.approx(reference(only))


def test_top1_counts_frames_against_fp32_and_labels() -> None:
    answers = np.array([1, 2, NO_ANSWER], np.int16)
    found = agreement(answers, np.array([1, 1, 3], np.int16), clip(labels=np.array([1, 2, 0])), None)
    assert found.metric == "top-1"
    assert found.with_fp32 is not None
    assert found.with_truth is not None
    assert list(found.with_fp32.per_frame) == [1, 0, 0]
    assert found.with_truth.value == pytest.approx(2 / 3)


def test_pixels_that_a_mask_leaves_out_do_not_count() -> None:
    masks = np.zeros((3, 4, 5), np.uint8)
    masks[:, 0] = LEFT_OUT
    answers = np.zeros((3, 4, 5), np.int16)
    answers[:, 0] = 7
    found = agreement(answers, None, clip(masks=masks), None).with_truth
    assert found is not None
    assert found.value == 1


def test_no_answer_is_never_right() -> None:
    masks = np.zeros((3, 4, 5), np.uint8)
    answers = np.full((3, 4, 5), NO_ANSWER, np.int16)
    found = agreement(answers, None, clip(masks=masks), None).with_truth
    assert found is not None
    assert found.value == 0


def test_masks_are_brought_to_the_answers_size() -> None:
    masks = np.kron(np.arange(20).reshape(1, 4, 5), np.ones((3, 2, 2))).astype(np.uint8)
    answers = np.repeat(np.arange(20, dtype=np.int16).reshape(1, 4, 5), 3, axis=0)
    found = agreement(answers, None, clip(masks=masks), None).with_truth
    assert found is not None
    assert found.value == 1
    with pytest.raises(UsageError, match="its masks have 8x9 pixels, the answers 4x5"):
        agreement(answers, None, clip(masks=np.zeros((3, 8, 9), np.uint8)), None)


def test_what_moves_is_what_changed_in_the_answer_or_the_input() -> None:
    generator = np.random.default_rng(0)
    frames = generator.normal(0, 0.01, (2, 3, 16, 16)).astype(np.float32)  # sensor noise moves nothing
    frames[1, 1, 2, 3] += 1
    answers = np.zeros((2, 8, 8), np.int16)
    answers[1, 7, 7] = 1
    found = moving_pixels(answers, ClipSamples(name="clip", frames=frames))
    assert sorted(zip(*(axis.tolist() for axis in np.nonzero(found)), strict=True)) == [(1, 1, 1), (1, 7, 7)]
    moving = np.zeros((2, 16, 16), bool)
    moving[1, 15, 0] = moving[0] = True
    found = moving_pixels(answers, ClipSamples(name="clip", frames=frames, moving=moving))
    assert sorted(zip(*(axis.tolist() for axis in np.nonzero(found)), strict=True)) == [(1, 7, 0), (1, 7, 7)]


def test_answers_are_the_highest_scores() -> None:
    scores = np.zeros((1, 3, 2, 2), np.float32)
    scores[0, 2, 0, 0] = scores[0, 1, 1, 1] = 1
    scores[0, 0, 0, 1] = np.nan
    found = classes_of(scores)
    assert found is not None
    assert found.tolist() == [[2, NO_ANSWER], [0, 1]]
    assert classes_of(np.array([[0.0, 3.0]])) == 1
    assert classes_of(np.array([[[[0.5, -0.5]]]])).tolist() == [[1, 0]]  # type: ignore[union-attr]
    assert classes_of(np.zeros((1, 2, 3))) is None


@pytest.mark.parametrize(
    ("known", "message"),
    [
        ({"masks": np.zeros((2, 4, 5), np.uint8)}, r"its masks have the shape \(2, 4, 5\) for 3 frames"),
        ({"labels": np.zeros((3, 1), np.uint8)}, "its labels have the shape"),
        ({"cuts": (3,)}, "its cuts are"),
        ({"frames": 1}, "has 1 frames; a video has at least 2"),
    ],
)
def test_a_clip_whose_parts_do_not_fit_is_refused(known: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        clip(**known)
    with pytest.raises(UsageError, match="they must be float32"):
        ClipSamples(name="clip", frames=np.zeros((3, 1, 4, 5), np.float64))
