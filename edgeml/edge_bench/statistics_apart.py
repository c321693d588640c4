"""Compares latencies that were measured apart: in runs of their own, an hour or a release from each other.

Launch i of one run has nothing in common with launch i of another, so nothing can be paired. What is more, a level that
all launches of one run share (temperature, what the kernel left where) does not show within it. With one run on each
side that level cannot be told from a change of the model: Welch's t over launches is right only where runs differ no
more than launches do. With more runs the run is the unit, and Student's t over runs holds in either case.

    share of comparisons of one file with itself, simulated, that call it different (benchmarks/calibration.py)
    one run against one, where runs differ no more than launches do     4.5%
    one run against one, where runs differ by 1.2%, as was measured     32%
    three such runs against one                                         4.7%
    three such runs against three                                       5.3 to 5.4%
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edgeml.core.bench_result import Launch
from edgeml.edge_bench.statistics import Estimate, Ratio, log_medians, median, t_test, typical

Runs = Sequence[Sequence[Launch]]
"""The launches of each run of one contender."""


def median_of_runs(runs: Runs) -> Estimate:
    """Latency of a typical launch of a typical run in milliseconds; of one run its `median`."""
    return median(runs[0]) if len(runs) == 1 else typical(_levels(runs))


def compare_apart(a: Runs, b: Runs) -> Ratio:
    """How many times `a` is faster than `b`: one run each, Welch's t over launches; more, Student's t over runs.

    Both are on logarithms of medians: Welch, Biometrika 34, 1947, and Student's for two samples of equal variance, so
    that several runs on one side are enough to judge a single one on the other.

    Args:
        a: at least one run of at least two launches.
        b: the same.
    """
    return t_test(*_difference(a, b))


def exceeds_probability(a: Runs, b: Runs, factor: float) -> float:
    """One-sided p-value, by the same test, of the hypothesis that `b` takes at most `factor` times as long as `a`."""
    from scipy import special

    estimate, error, degrees = _difference(a, b)
    excess = estimate - math.log(factor)
    if error == 0:
        return 0.0 if excess > 0 else 1.0
    return float(special.stdtr(degrees, -excess / error))


def _difference(a: Runs, b: Runs) -> tuple[float, float, float]:
    """Mean logarithm of b less that of a, its standard error and its degrees of freedom."""
    if len(a) == len(b) == 1:
        return _welch(log_medians(a[0]), log_medians(b[0]))
    return _pooled(_levels(a), _levels(b))


def _levels(runs: Runs) -> npt.NDArray[np.float64]:
    return np.array([log_medians(launches).mean() for launches in runs])


def _welch(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    of_a, of_b = float(np.var(a, ddof=1)) / len(a), float(np.var(b, ddof=1)) / len(b)
    both = of_a + of_b
    degrees = both**2 / (of_a**2 / (len(a) - 1) + of_b**2 / (len(b) - 1)) if both > 0 else 1.0
    return float(b.mean() - a.mean()), math.sqrt(both), degrees


def _pooled(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    degrees = len(a) + len(b) - 2
    variance = (len(a) * float(np.var(a)) + len(b) * float(np.var(b))) / degrees
    return float(b.mean() - a.mean()), math.sqrt(variance * (1 / len(a) + 1 / len(b))), degrees
