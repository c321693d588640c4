"""How well predicted masks agree with true ones, over a clip, frame by frame, and on moving pixels apart."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
_Labels = npt.NDArray[np.integer]
_Where = npt.NDArray[np.bool_]


def confusion(predicted: _Labels, truth: _Labels, classes: int, where: _Where | None = None) -> Counts:
    """How many pixels of each true class (rows) were given each class (columns): int64 (classes, classes).

    Args:
        predicted: integers of any shape, 0 to classes - 1.
        truth: the same shape and range.
        classes: number of classes.
        where: bool, the same shape: the pixels that count; None counts all.

    Raises:
        ValueError: the shapes differ, or a label is out of range.
    """
    if predicted.shape != truth.shape or (where is not None and where.shape != truth.shape):
        raise ValueError(f"masks of shapes {predicted.shape} and {truth.shape} cannot be compared")
    if where is not None:
        predicted, truth = predicted[where], truth[where]
    if truth.size and (min(predicted.min(), truth.min()) < 0 or max(predicted.max(), truth.max()) >= classes):
        raise ValueError(f"labels must be 0 to {classes - 1}")
    pairs = truth.astype(np.int64).ravel() * classes + predicted.astype(np.int64).ravel()
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def class_iou(counts: Counts) -> npt.NDArray[np.float64]:
    """Intersection over union of each class, float64 (classes,); NaN for a class that is in neither mask.

    Args:
        counts: what `confusion` gives, or a sum of such.
    """
    both = np.diagonal(counts).astype(np.float64)
    union = counts.sum(axis=0) + counts.sum(axis=1) - np.diagonal(counts)
    iou: npt.NDArray[np.float64] = np.divide(both, union, out=np.full(len(both), np.nan), where=union > 0)
    return iou


def mean_iou(counts: Counts) -> float:
    """Mean of `class_iou` over the classes that are there; NaN where no pixel was counted."""
    values = class_iou(counts)
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else float("nan")


def top1_agreement(logits: npt.NDArray[np.floating], reference: npt.NDArray[np.floating]) -> float:
    """Share of places where both have their largest logit at the same class; the first of equals is the largest.

    A place where either has a logit that is no number counts as disagreement; NaN where there are no places.

    Args:
        logits: float (batch, classes) or (batch, classes, height, width).
        reference: the same shape.

    Raises:
        ValueError: the shapes differ or have no class axis.
    """
    if logits.shape != reference.shape or logits.ndim < 2:
        raise ValueError(f"logits of shapes {logits.shape} and {reference.shape} cannot be compared")
    if logits.size == 0:
        return float("nan")
    same = logits.argmax(axis=1) == reference.argmax(axis=1)
    finite = np.isfinite(logits).all(axis=1) & np.isfinite(reference).all(axis=1)
    return float((same & finite).mean())


@dataclass
class SegmentationScores:
    """Scores of a clip, gathered frame by frame.

    The means over a clip are those of the counts of all frames together, as is usual for video; `frame_iou` has the
    frames' own, in which a class that a frame lacks does not count.

    Attributes:
        classes: number of classes.
        total: int64 (classes, classes), counts of all pixels.
        moving: int64 (classes, classes), counts of the moving pixels.
        frame_iou: mean IoU of each frame.
        frame_moving_iou: mean IoU of each frame's moving pixels; NaN where nothing moved.
    """

    classes: int
    total: Counts = field(init=False)
    moving: Counts = field(init=False)
    frame_iou: list[float] = field(default_factory=list)
    frame_moving_iou: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.total = np.zeros((self.classes, self.classes), np.int64)
        self.moving = np.zeros((self.classes, self.classes), np.int64)

    def add(self, predicted: _Labels, truth: _Labels, moving: _Where | None = None) -> None:
        """Count one frame.

        Args:
            predicted: integers (height, width).
            truth: integers (height, width).
            moving: bool (height, width); None where it is not known.

        Raises:
            ValueError: the shapes differ, or a label is out of range.
        """
        counts = confusion(predicted, truth, self.classes)
        still = np.zeros(truth.shape, bool)
        moved = confusion(predicted, truth, self.classes, still if moving is None else moving)
        self.total += counts
        self.moving += moved
        self.frame_iou.append(mean_iou(counts))
        self.frame_moving_iou.append(mean_iou(moved))

    @property
    def mean_iou(self) -> float:
        """Of all pixels of all frames."""
        return mean_iou(self.total)

    @property
    def moving_mean_iou(self) -> float:
        """Of the moving pixels of all frames; NaN where none moved."""
        return mean_iou(self.moving)
