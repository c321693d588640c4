"""How often a model is right, with the uncertainty that a finite test set leaves."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from edgeml.core.bench_result import Accuracy
from edgeml.core.errors import UsageError
from edgeml.core.samples import Samples

METRIC = "top-1"


def check_labels(samples: Samples, outputs: int | str) -> None:
    """Hold the labels to the number of classes a model tells apart (a string where that is not known beforehand).

    Raises:
        UsageError: there are no samples, or a label is no index of the model's outputs.
    """
    if len(samples) == 0:
        raise UsageError(f"{samples.name} holds no samples, so no accuracy can be measured on it")
    if samples.labels.min() < 0 or (isinstance(outputs, int) and samples.labels.max() >= outputs):
        raise UsageError(
            f"{samples.name} has labels from {samples.labels.min()} to {samples.labels.max()} and the model has "
            f"{outputs} outputs; give the data set that the model was trained on"
        )


def top1(logits: npt.NDArray[np.floating], samples: Samples) -> Accuracy:
    """Share of samples whose largest logit is at the label, with Wilson's 95% interval (JASA 1927).

    A sample with a logit that is no number counts as wrong.

    Args:
        logits: float (sample, class).
        samples: what the logits were computed from, in the same order.

    Raises:
        UsageError: the model is no classifier of these labels.
    """
    if logits.ndim != 2 or len(logits) != len(samples):
        raise UsageError(
            f"accuracy needs one row of logits a sample; {len(samples)} samples gave an output of shape {logits.shape}"
        )
    check_labels(samples, logits.shape[1])
    correct = (logits.argmax(axis=1) == samples.labels) & np.isfinite(logits).all(axis=1)
    right, count = int(correct.sum()), len(samples)
    return Accuracy(
        metric=METRIC,
        value=right / count,
        ci95=wilson(right, count),
        data=samples.name,
        samples=count,
        correct=tuple(correct.tolist()),
    )


def wilson(right: int, count: int) -> tuple[float, float]:
    """Wilson's 95% score interval of a share."""
    from scipy import stats

    interval = stats.binomtest(right, count).proportion_ci(confidence_level=0.95, method="wilson")
    return float(interval.low), float(interval.high)


def paired_difference(a: tuple[bool, ...], b: tuple[bool, ...]) -> tuple[float, tuple[float, float]]:
    """Accuracy of `a` less that of `b` on the same samples, with its 95% interval.

    Newcombe's method 10 ("Improved confidence intervals for the difference between binomial proportions based on paired
    data", Statistics in Medicine 17, 1998): Wilson's interval of each share, joined with the correlation of the pairs.
    Two models mostly err on the same samples, so this is much narrower than the two intervals side by side.

    Args:
        a: one flag a sample.
        b: the same samples in the same order, at least one.
    """
    right_a, right_b = np.asarray(a, dtype=bool), np.asarray(b, dtype=bool)
    count = len(right_a)
    both, only_a = int((right_a & right_b).sum()), int((right_a & ~right_b).sum())
    only_b, neither = int((~right_a & right_b).sum()), int((~right_a & ~right_b).sum())
    share_a, share_b = (both + only_a) / count, (both + only_b) / count
    low_a, high_a = wilson(both + only_a, count)
    low_b, high_b = wilson(both + only_b, count)
    correlation = _correlation(both, only_a, only_b, neither)
    difference = share_a - share_b

    def spread(from_a: float, from_b: float) -> float:
        return math.sqrt(max(0.0, from_a**2 - 2 * correlation * from_a * from_b + from_b**2))

    low = difference - spread(share_a - low_a, high_b - share_b)
    high = difference + spread(high_a - share_a, share_b - low_b)
    return difference, (max(-1.0, low), min(1.0, high))


def _correlation(both: int, only_a: int, only_b: int, neither: int) -> float:
    """Newcombe's corrected phi coefficient of the 2 x 2 table of pairs; 0 where a margin is empty."""
    margins = (both + only_a) * (only_b + neither) * (both + only_b) * (only_a + neither)
    if margins == 0:
        return 0.0
    determinant = float(both * neither - only_a * only_b)
    if determinant > 0:
        determinant = max(determinant - (both + only_a + only_b + neither) / 2, 0.0)
    return determinant / math.sqrt(margins)
