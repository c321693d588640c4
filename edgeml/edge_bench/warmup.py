"""Runs a model until its latency has settled, so that first-run costs stay out of the samples."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

WINDOW = 5
TOLERANCE = 0.03
BLOCK_NS = 10_000_000
FEWEST_RUNS = 2


@dataclass(frozen=True, kw_only=True)
class WarmUp:
    """How a warm-up went.

    Attributes:
        runs: runs made, all to be discarded.
        stable: whether latency had settled; False where time was up first.
        latency_ns: latency at its end, a median in nanoseconds.
    """

    runs: int
    stable: bool
    latency_ns: float


def settled(medians: Sequence[float]) -> bool:
    """Whether the last `WINDOW` block medians lie within `TOLERANCE` of each other and do not all rise or all fall."""
    last = medians[-WINDOW:]
    if len(last) < WINDOW or max(last) > min(last) * (1 + TOLERANCE):
        return False
    steps = [later - earlier for earlier, later in pairwise(last)]
    return not (all(step < 0 for step in steps) or all(step > 0 for step in steps))


def warm_up(take: Callable[[int], Sequence[int]], limit_ns: int) -> WarmUp:
    """Run until latency has settled, or for `limit_ns` nanoseconds and at least `FEWEST_RUNS` runs.

    Args:
        take: runs the model that many times and returns each latency in nanoseconds.
        limit_ns: budget; the last block may overrun it.
    """
    medians: list[float] = []
    runs = spent_ns = 0
    block = 1
    while True:
        latencies = take(block)
        medians.append(statistics.median(latencies))
        runs += block
        spent_ns += sum(latencies)
        if settled(medians):
            return WarmUp(runs=runs, stable=True, latency_ns=medians[-1])
        if spent_ns >= limit_ns and runs >= FEWEST_RUNS:
            return WarmUp(runs=runs, stable=False, latency_ns=medians[-1])
        block = max(1, int(BLOCK_NS / max(medians[-1], 1)))
