"""Turns raw latencies into figures that carry their uncertainty: medians, percentiles, ratios and verdicts.

The unit of replication is the launch: two starts of one program differ (where its memory landed, which pages it was
given) by more than their thousands of samples suggest, so the samples of one launch are not independent of each other
(Kalibera and Jones, "Rigorous benchmarking in reasonable time", ISMM 2013). Every interval here is taken over launches.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeml.core.bench_result import Contender, Launch, Verdict

CONFIDENCE = 0.95
SMALLEST_DIFFERENCE = 0.01
"""Ratios nearer to 1 than this are never called a difference: files that are the same differ by as much."""

_PERCENTILE_CONFIDENCE = 0.99


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A figure with its 95% interval, in the figure's unit."""

    value: float
    ci95: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class LatencySummary:
    """What is said about one contender's latency, in milliseconds.

    Attributes:
        median: geometric mean over launches of each launch's median, so that the ratio of two contenders' medians is
            the ratio that is tested.
        p90: 90th percentile of all samples; None with fewer samples than `minimum_samples(0.9)`.
        p95: the same for the 95th.
        p99: the same for the 99th.
        samples: number of samples.
    """

    median: Estimate
    p90: Estimate | None
    p95: Estimate | None
    p99: Estimate | None
    samples: int


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """How many times the first contender is faster than the second.

    Attributes:
        value: latency of the second over latency of the first.
        ci95: 95% interval.
        p_value: two-sided, of the hypothesis that the true ratio is 1.
    """

    value: float
    ci95: tuple[float, float]
    p_value: float


def summarize(contender: Contender) -> LatencySummary:
    """The figures of one contender."""
    return LatencySummary(
        median=median(contender.launches),
        p90=percentile(contender.launches, 0.90),
        p95=percentile(contender.launches, 0.95),
        p99=percentile(contender.launches, 0.99),
        samples=len(contender.latency_ms),
    )


def median(launches: Sequence[Launch]) -> Estimate:
    """Latency of a typical launch in milliseconds: geometric mean of the launches' medians.

    The interval is Student's t on the logarithms of the launches' medians. How much launches differ cannot be known
    from a single one: its interval is the range of its samples.
    """
    logs = _log_medians(launches)
    if len(logs) < 2:
        samples = launches[0].latency_ms
        return Estimate(value=float(np.exp(logs[0])), ci95=(min(samples), max(samples)))
    mean, half_width, _ = _student(logs)
    return Estimate(value=math.exp(mean), ci95=(math.exp(mean - half_width), math.exp(mean + half_width)))


def percentile(launches: Sequence[Launch], share: float) -> Estimate | None:
    """The latency in milliseconds that `share` of all samples stay below; None where there are too few samples for it.

    The interval is Woodruff's ("Confidence intervals for medians and other position measures", JASA 1952) with launches
    as the clusters: the share below the estimate is found for every launch, its uncertainty is Student's t over
    launches and at least the binomial one, and the ends are read back from the samples.
    """
    from scipy import stats

    samples = np.concatenate([np.asarray(launch.latency_ms) for launch in launches])
    if len(samples) < minimum_samples(share):
        return None
    value = float(np.quantile(samples, share))
    error = math.sqrt(share * (1 - share) / len(samples)) * float(stats.norm.ppf((1 + CONFIDENCE) / 2))
    if len(launches) > 1:
        below = np.array([np.mean(np.asarray(launch.latency_ms) <= value) for launch in launches])
        error = max(error, _student(below)[1])
    low, high = np.quantile(samples, [max(0.0, share - error), min(1.0, share + error)])
    return Estimate(value=value, ci95=(float(low), float(high)))


@lru_cache
def minimum_samples(share: float) -> int:
    """The fewest samples from which a percentile is quoted: 64 for 0.90, 130 for 0.95, 662 for 0.99.

    MLPerf LoadGen's rule for stopping early: with this many samples, at most one of them above the bound, it is 99%
    certain (one-sided, binomial) that no more than 1 - share of all runs exceed it.

    Args:
        share: in (0, 1).
    """
    from scipy import stats

    def certain(count: int) -> bool:
        return bool(stats.binom.cdf(1, count, 1 - share) <= 1 - _PERCENTILE_CONFIDENCE)

    high = 2
    while not certain(high):
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if certain(middle) else (middle, high)
    return high


def compare(a: Sequence[Launch], b: Sequence[Launch]) -> Ratio:
    """How many times `a` is faster than `b`: Student's t on the log ratios of the medians of paired launches.

    Launch i of both ran at the same time with their blocks interleaved, so what slowed one slowed the other, and drift
    cancels in the ratio. At least two launches each.
    """
    mean, half_width, p_value = _student(_log_medians(b) - _log_medians(a))
    return Ratio(value=math.exp(mean), ci95=(math.exp(mean - half_width), math.exp(mean + half_width)), p_value=p_value)


def verdicts(ratios: Sequence[Ratio]) -> tuple[Verdict, ...]:
    """A verdict for each ratio of one run.

    A difference is claimed where the 95% interval excludes 1, the p-value holds after Holm's correction for the number
    of comparisons (Scandinavian Journal of Statistics, 1979), and the ratio is at least `SMALLEST_DIFFERENCE` from 1.
    """
    significant = _holm([ratio.p_value for ratio in ratios])
    return tuple(_verdict(ratio, holds) for ratio, holds in zip(ratios, significant, strict=True))


def _verdict(ratio: Ratio, significant: bool) -> Verdict:
    low, high = ratio.ci95
    if significant and abs(math.log(ratio.value)) >= math.log1p(SMALLEST_DIFFERENCE):
        if low > 1:
            return "faster"
        if high < 1:
            return "slower"
    return "no difference shown"


def _holm(p_values: Sequence[float]) -> list[bool]:
    holds = [False] * len(p_values)
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        if p_values[index] > (1 - CONFIDENCE) / (len(p_values) - rank):
            break
        holds[index] = True
    return holds


def _log_medians(launches: Sequence[Launch]) -> npt.NDArray[np.float64]:
    return np.log([np.median(launch.latency_ms) for launch in launches])


def _student(values: npt.NDArray[Any]) -> tuple[float, float, float]:
    """Mean of the values, half width of its 95% interval, and the p-value of a true mean of 0."""
    from scipy import stats

    mean, count = float(np.mean(values)), len(values)
    error = float(np.std(values, ddof=1)) / math.sqrt(count)
    half_width = error * float(stats.t.ppf((1 + CONFIDENCE) / 2, count - 1))
    if error == 0:
        return mean, 0.0, 1.0 if mean == 0 else 0.0
    return mean, half_width, float(2 * stats.t.sf(abs(mean) / error, count - 1))
