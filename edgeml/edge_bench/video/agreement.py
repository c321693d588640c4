"""How far a network's answers agree with those of fp32 and with the truth, frame by frame and where things move."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from edgeml.core.errors import UsageError
from edgeml.edge_bench.video.clip_samples import ClipSamples

LEFT_OUT = 255
"""The class of pixels that a mask says nothing about."""

_NOISE_FACTOR = 5.0
_NORMAL_DEVIATION = 1.4826

Answers = npt.NDArray[np.int16]
Map = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Score:
    """Answers held against a reference.

    Attributes:
        value: top-1 share of frames, or mIoU over all pixels of the clip: the mean over those classes that occur.
        per_frame: the same of each frame; None where a frame has nothing to compare.
        moving: mIoU over moving pixels alone; None for a classifier, or where nothing moves.
    """

    value: float
    per_frame: tuple[float | None, ...]
    moving: float | None


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """What is known of a contender's answers.

    Attributes:
        metric: "top-1" of a classifier, "mIoU" of a network that gives each pixel a class.
        with_fp32: against the answers of the fp32 file; None where there is none.
        with_truth: against the clip's labels or masks; None where it has none.
    """

    metric: Literal["top-1", "mIoU"]
    with_fp32: Score | None
    with_truth: Score | None


def agreement(answers: Answers, fp32: Answers | None, samples: ClipSamples, moving: Map | None) -> Agreement:
    """The agreement of one contender.

    Args:
        answers: int16 (frame) of a classifier, (frame, height, width) of a map.
        fp32: those of the fp32 file, of the same shape.
        samples: the clip.
        moving: pixels of the answers that count as moving, bool (frame, height, width); None for a classifier.

    Raises:
        UsageError: the answers of two contenders, or the clip's masks, are of different sizes.
    """
    if fp32 is not None and fp32.shape != answers.shape:
        raise UsageError(f"the answers of two files have the shapes {answers.shape} and {fp32.shape}: two networks")
    if answers.ndim == 1:
        return Agreement(
            metric="top-1",
            with_fp32=None if fp32 is None else _top1(answers, fp32),
            with_truth=None if samples.labels is None else _top1(answers, samples.labels),
        )
    truth = None if samples.masks is None else _at_size(samples.masks, answers.shape[1:], samples.name)
    return Agreement(
        metric="mIoU",
        with_fp32=None if fp32 is None else _mean_iou(answers, fp32, moving),
        with_truth=None if truth is None else _mean_iou(answers, truth, moving),
    )


def moving_pixels(answers: Answers, samples: ClipSamples) -> Map:
    """Pixels whose fp32 answer or whose input differs from the frame before, bool (frame, height, width).

    The input differs where the clip says so. Where it does not, a pixel's greatest difference over channels must stand
    out of the sensor's noise: be above five robust deviations of that frame's differences.

    Args:
        answers: of fp32, int16 (frame, height, width).
        samples: the clip.
    """
    size = (answers.shape[1], answers.shape[2])
    found = np.zeros(answers.shape, bool)
    found[1:] = answers[1:] != answers[:-1]
    for index in range(1, len(answers)):
        if samples.moving is not None:
            changed = samples.moving[index]
        else:
            difference = samples.frames[index] - samples.frames[index - 1]
            noise = _NORMAL_DEVIATION * np.median(np.abs(difference))
            changed = np.abs(difference).max(axis=0) > _NOISE_FACTOR * noise
        found[index] |= _any_at_size(changed, size)
    return found


def _top1(answers: Answers, reference: npt.NDArray[np.integer]) -> Score:
    right = answers == reference
    return Score(value=float(right.mean()), per_frame=tuple(right.astype(float).tolist()), moving=None)


def _mean_iou(answers: Answers, reference: npt.NDArray[np.integer], moving: Map | None) -> Score:
    classes = int(max(answers.max(), reference[reference != LEFT_OUT].max(initial=0))) + 1
    whole = np.zeros((classes + 1, classes + 1), np.int64)
    apart = np.zeros_like(whole)
    per_frame = []
    for index, (found, expected) in enumerate(zip(answers, reference, strict=True)):
        known = (expected >= 0) & (expected < classes)
        confusion = _confusion(found[known], expected[known], classes)
        whole += confusion
        per_frame.append(mean_iou(confusion))
        if moving is not None:
            chosen = known & moving[index]
            apart += _confusion(found[chosen], expected[chosen], classes)
    value = mean_iou(whole)
    return Score(value=0.0 if value is None else value, per_frame=tuple(per_frame), moving=mean_iou(apart))


def _confusion(found: Answers, expected: npt.NDArray[np.integer], classes: int) -> npt.NDArray[np.int64]:
    """Pixels by (expected class, found class); the last class is that of no answer."""
    column = np.where(found < 0, classes, found).astype(np.int64)
    counts = np.bincount(expected.astype(np.int64) * (classes + 1) + column, minlength=(classes + 1) ** 2)
    return counts.reshape(classes + 1, classes + 1)


def mean_iou(confusion: npt.NDArray[np.int64]) -> float | None:
    """Mean over classes of intersection over union, of those that occur on either side; None where none does.

    Args:
        confusion: int64 (expected class, found class).
    """
    both = np.diag(confusion)
    either = confusion.sum(axis=0) + confusion.sum(axis=1) - both
    occurs = either > 0
    return float((both[occurs] / either[occurs]).mean()) if occurs.any() else None


def _at_size(masks: npt.NDArray[np.integer], size: tuple[int, ...], name: str) -> npt.NDArray[np.integer]:
    """Masks at the size of the answers, by the nearest pixel."""
    height, width = masks.shape[1:]
    if height * size[1] != width * size[0]:
        raise UsageError(f"{name}: its masks have {height}x{width} pixels, the answers {size[0]}x{size[1]}")
    return masks[:, _nearest(height, size[0])][:, :, _nearest(width, size[1])]


def _any_at_size(changed: Map, size: tuple[int, int]) -> Map:
    """Whether any pixel under a pixel of another size changed: exact for whole ratios, else by the nearest pixel."""
    height, width = changed.shape
    if height % size[0] == 0 and width % size[1] == 0:
        blocks = changed.reshape(size[0], height // size[0], size[1], width // size[1])
        return np.asarray(blocks.any(axis=(1, 3)))
    return changed[_nearest(height, size[0])][:, _nearest(width, size[1])]


def _nearest(length: int, wanted: int) -> npt.NDArray[np.int64]:
    return ((np.arange(wanted) + 0.5) * length / wanted).astype(np.int64)
