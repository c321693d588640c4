"""Scores of masks and logits, compared with scikit-learn's and with counts by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeml.core.segmentation_metrics import SegmentationScores, class_iou, confusion, mean_iou, top1_agreement


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5))
def test_iou_is_scikit_learns_jaccard_score(seed: int, classes: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    generator = np.random.default_rng(seed)
    truth, predicted = generator.integers(0, classes, (2, 4, 6))
    present = sorted(set(truth.ravel()) | set(predicted.ravel()))
    expected = metrics.jaccard_score(truth.ravel(), predicted.ravel(), labels=present, average=None)
    counts = confusion(predicted, truth, classes)
    assert np.allclose(class_iou(counts)[present], expected)
    assert np.isnan(np.delete(class_iou(counts), present)).all()
    assert mean_iou(counts) == pytest.approx(expected.mean())


def test_scores_of_a_clip_are_those_of_its_counts_with_each_frames_own_beside() -> None:
    truth = np.array([[0, 0, 1, 1]], np.uint8)
    scores = SegmentationScores(classes=3)
    scores.add(truth, truth, np.array([[False, True, True, False]]))
    scores.add(np.array([[0, 1, 1, 1]], np.uint8), truth, np.array([[False, True, False, False]]))
    scores.add(truth, truth)
    assert scores.frame_iou == pytest.approx([1, (1 / 2 + 2 / 3) / 2, 1])
    assert scores.frame_moving_iou[:2] == pytest.approx([1, 0])
    assert math.isnan(scores.frame_moving_iou[2])
    assert scores.mean_iou == pytest.approx((5 / 6 + 6 / 7) / 2)
    assert scores.moving_mean_iou == pytest.approx((1 / 2 + 1 / 2) / 2)
    assert math.isnan(SegmentationScores(classes=3).mean_iou)


def test_agreement_counts_places_with_the_same_largest_logit() -> None:
    one = np.array([[1.0, 2.0], [3.0, 0.0], [0.0, 1.0], [np.nan, 1.0]])
    other = np.array([[0.0, 0.1], [0.0, 1.0], [0.0, 0.5], [0.0, 1.0]])
    assert top1_agreement(one, other) == 0.5
    maps = np.random.default_rng(0).standard_normal((2, 3, 4, 5))
    assert top1_agreement(maps, maps * 2 + 1) == 1
    assert math.isnan(top1_agreement(maps[:0], maps[:0]))


def test_what_cannot_be_compared_is_refused() -> None:
    mask = np.zeros((2, 2), np.uint8)
    with pytest.raises(ValueError, match="cannot be compared"):
        confusion(mask, mask[:1], 2)
    with pytest.raises(ValueError, match="cannot be compared"):
        confusion(mask, mask, 2, np.zeros((1, 2), bool))
    with pytest.raises(ValueError, match="labels must be 0 to 1"):
        confusion(mask + 2, mask, 2)
    with pytest.raises(ValueError, match="labels must be"):
        confusion(mask.astype(np.int8) - 1, mask, 2)
    with pytest.raises(ValueError, match="cannot be compared"):
        top1_agreement(np.zeros((2, 2)), np.zeros((2, 3)))
