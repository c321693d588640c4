"""Finds a run's measured comparison of two contenders, whichever way round it was made."""

from __future__ import annotations

from typing import Literal

from edgeml.core.bench_result import BenchResult, Comparison
from edgeml.edge_bench.verdicts.words import inverse


def comparison_between(result: BenchResult, a: int, b: int) -> Comparison | None:
    """The run's comparison of contender `a` against `b`, turned round where it was made the other way."""
    for comparison in result.comparisons:
        if (comparison.a, comparison.b) == (a, b):
            return comparison
        if (comparison.a, comparison.b) == (b, a):
            return _turned(comparison)
    return None


def _turned(comparison: Comparison) -> Comparison:
    low, high = comparison.ci95
    difference, interval = comparison.accuracy_difference, comparison.accuracy_ci95
    match comparison.verdict:
        case "faster":
            verdict: Literal["faster", "slower", "no difference shown"] = "slower"
        case "slower":
            verdict = "faster"
        case _:
            verdict = "no difference shown"
    return Comparison(
        a=comparison.b,
        b=comparison.a,
        ratio=inverse(comparison.ratio),
        ci95=(inverse(high), inverse(low)),
        verdict=verdict,
        accuracy_difference=None if difference is None else -difference,
        accuracy_ci95=None if interval is None else (-interval[1], -interval[0]),
    )
