"""Turns raw latencies into figures that carry their uncertainty: medians, percentiles, ratios and verdicts.

The unit of replication is the launch: two starts of one program differ (where its memory landed, which pages it was
given) by more than their thousands of samples suggest, so the samples of one launch are not independent of each other
(Kalibera and Jones, "Rigorous benchmarking in reasonable time", ISMM 2013). Each launch is reduced to one number, and
every interval is Student's t over launches.

The methods were chosen by their coverage in simulation (benchmarks/calibration.py): normal, lognormal, Student t3,
bimodal and autocorrelated samples (AR(1) 0.9), with and without levels that differ by launch, at five launches.

    share of 95% intervals that hold the truth, lowest and highest over 20, 100 and 400 samples a launch
    median: t on log medians of launches                            94.0 to 97.0%
    ratio: t on log ratios of paired launches, 100 samples or more  93.8 to 96.0%
    the same, 20 samples (above 97% with two modes only)            94.4 to 97.7%
    p90, p95, p99: t on log percentiles of launches                 93.8 to 96.6%
    the same, AR(1) 0.9, 100 samples or more                        91.5 to 95.7%
    the same, AR(1) 0.9, 20 samples (p90)                           82.8 to 92.5%
    not chosen:
    median: block bootstrap of launches and samples                 79.0 to 99.3%
    median: its standard error with Student's t                     93.7 to 100%
    ratio: block bootstrap of launches and samples                  84.7 to 100%
    p90, p99: block bootstrap of launches and samples               79.7 to 99.7%
    p90, p99 of all samples: the same                               47.3 to 98.7%
    p90, p99 of all samples: Woodruff's, launches as clusters       63.7 to 99.3%

Five launches are too few to be resampled: a bootstrap never sees a launch that is not among them. Nor do they say what
the slowest hundredth of all launches is like: a percentile is therefore that of a typical launch.
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

PERCENTILES = {"p90": 0.90, "p95": 0.95, "p99": 0.99}

_PERCENTILE_CONFIDENCE = 0.99


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A figure with its 95% interval, in the figure's unit."""

    value: float
    ci95: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class PercentileRefused:
    """A percentile that is not quoted; as a string, why.

    Attributes:
        name: "p90", "p95" or "p99".
        needs: samples it needs, over as many launches as were made.
        taken: samples there are.
    """

    name: str
    needs: int
    taken: int

    def __str__(self) -> str:
        return f"{self.name} needs {self.needs} samples, {self.taken} taken"


@dataclass(frozen=True, kw_only=True)
class LatencySummary:
    """What is said about one contender's latency, in milliseconds.

    Attributes:
        median: geometric mean over launches of each launch's median, so that the ratio of two contenders' medians is
            the ratio that is tested.
        p90: the same for the 90th percentile; None where it is refused.
        p95: the same for the 95th.
        p99: the same for the 99th.
        samples: number of samples.
        refused: why percentiles are None.
    """

    median: Estimate
    p90: Estimate | None
    p95: Estimate | None
    p99: Estimate | None
    samples: int
    refused: tuple[PercentileRefused, ...] = ()

    def needs(self, name: str) -> int | None:
        """Samples that the percentile of this name ("p99") needs; None where it is quoted."""
        return next((each.needs for each in self.refused if each.name == name), None)


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


def summarize(contender: Contender) -> LatencySummary | None:
    """The figures of one contender; None where it has no launches: on its device timings mean nothing."""
    launches = contender.launches
    if not launches:
        return None
    taken = len(contender.latency_ms)
    found = {name: percentile(launches, share) for name, share in PERCENTILES.items()}
    return LatencySummary(
        median=median(launches),
        p90=found["p90"],
        p95=found["p95"],
        p99=found["p99"],
        samples=taken,
        refused=tuple(
            PercentileRefused(name=name, needs=samples_needed(PERCENTILES[name], len(launches)), taken=taken)
            for name, estimate in found.items()
            if estimate is None
        ),
    )


def median(launches: Sequence[Launch]) -> Estimate:
    """Latency of a typical launch in milliseconds: geometric mean of the launches' medians.

    The interval is Student's t on the logarithms of the launches' medians. How much launches differ cannot be known
    from a single one: its interval is the range of its samples.
    """
    return _typical_of(launches, log_medians(launches))


def percentile(launches: Sequence[Launch], share: float) -> Estimate | None:
    """The latency in milliseconds that `share` of the samples of a typical launch stay below; None with too few.

    Geometric mean of the launches' percentiles, each by the median-unbiased rule (number 8 of Hyndman and Fan, "Sample
    quantiles in statistical packages", The American Statistician 50, 1996): the usual rule takes the percentiles of
    short launches too low. The interval is that of `median`, on the logarithms of the launches' percentiles.

    Args:
        launches: at least one.
        share: in (0, 1).
    """
    if sum(len(launch.latency_ms) for launch in launches) < samples_needed(share, len(launches)):
        return None
    return _typical_of(
        launches,
        np.log([np.quantile(launch.latency_ms, share, method="median_unbiased") for launch in launches]),
    )


def samples_needed(share: float, launches: int) -> int:
    """The fewest samples over so many launches from which a percentile is quoted.

    `minimum_samples`, and so many in a launch that its percentile lies below its largest sample: 7 for 0.90, 13 for
    0.95, 67 for 0.99.
    """
    in_a_launch = math.ceil((1 + share) / (3 * (1 - share)) - 1e-9)
    return max(minimum_samples(share), launches * in_a_launch)


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
    return _student(log_medians(b) - log_medians(a))


def verdicts(ratios: Sequence[Ratio]) -> tuple[Verdict, ...]:
    """A verdict for each ratio of one run.

    A difference is claimed where the 95% interval excludes 1, the p-value holds after Holm's correction for the number
    of comparisons (Scandinavian Journal of Statistics, 1979), and the ratio is at least `SMALLEST_DIFFERENCE` from 1.
    """
    significant = holm([ratio.p_value for ratio in ratios], 1 - CONFIDENCE)
    return tuple(_verdict(ratio, holds) for ratio, holds in zip(ratios, significant, strict=True))


def _verdict(ratio: Ratio, significant: bool) -> Verdict:
    low, high = ratio.ci95
    if significant and abs(math.log(ratio.value)) >= math.log1p(SMALLEST_DIFFERENCE):
        if low > 1:
            return "faster"
        if high < 1:
            return "slower"
    return "no difference shown"


def holm(p_values: Sequence[float], level: float) -> tuple[bool, ...]:
    """Which hypotheses are refuted, with a chance of at most `level` that any of them is true.

    Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6, 1979.
    """
    refuted = [False] * len(p_values)
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        if p_values[index] > level / (len(p_values) - rank):
            break
        refuted[index] = True
    return tuple(refuted)


def log_medians(launches: Sequence[Launch]) -> npt.NDArray[np.float64]:
    """The logarithm of each launch's median latency in milliseconds."""
    return np.log([np.median(launch.latency_ms) for launch in launches])


def typical(logs: npt.NDArray[np.float64]) -> Estimate:
    """Geometric mean of figures given as logarithms, at least two, with Student's 95% interval."""
    found = _student(logs)
    return Estimate(value=found.value, ci95=found.ci95)


def _typical_of(launches: Sequence[Launch], logs: npt.NDArray[np.float64]) -> Estimate:
    if len(logs) < 2:
        samples = launches[0].latency_ms
        return Estimate(value=float(np.exp(logs[0])), ci95=(min(samples), max(samples)))
    return typical(logs)


def _student(values: npt.NDArray[Any]) -> Ratio:
    """Of the mean of the values."""
    count = len(values)
    return t_test(float(np.mean(values)), float(np.std(values, ddof=1)) / math.sqrt(count), count - 1)


def t_test(estimate: float, error: float, degrees: float) -> Ratio:
    """The ratio whose logarithm is this estimate, with this standard error and so many degrees of freedom."""
    from scipy import special

    if error == 0:
        return Ratio(value=math.exp(estimate), ci95=(math.exp(estimate),) * 2, p_value=1.0 if estimate == 0 else 0.0)
    half_width = error * float(special.stdtrit(degrees, (1 + CONFIDENCE) / 2))
    return Ratio(
        value=math.exp(estimate),
        ci95=(math.exp(estimate - half_width), math.exp(estimate + half_width)),
        p_value=float(2 * special.stdtr(degrees, -abs(estimate) / error)),
    )
