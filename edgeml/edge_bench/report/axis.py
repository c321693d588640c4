"""Axes of a plot: where a value lies in pixels, and which round values to mark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

_LOG_FROM_RATIO = 8.0


@dataclass(frozen=True)
class Axis:
    """A range of values laid over a range of pixels, linearly or by logarithm.

    Attributes:
        low: value at `start`.
        high: value at `end`.
        start: pixel of `low`.
        end: pixel of `high`; below `start` for an axis that points up the screen.
        log: whether equal distances are equal ratios.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def at(self, value: float) -> float:
        """Pixel of `value`, held inside the axis."""
        if self.log:
            share = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return round(self.start + min(max(share, 0.0), 1.0) * (self.end - self.start), 2)

    def ticks(self, count: int) -> list[tuple[float, str]]:
        """About `count` round values inside the axis, each with its text."""
        if self.log:
            return [(value, f"{value:g}") for value in self._log_ticks(count)]
        return self._linear_ticks(count)

    def _linear_ticks(self, count: int) -> list[tuple[float, str]]:
        rough = (self.high - self.low) / count
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= 0.8 * rough)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        digits = max(0, -math.floor(math.log10(step) + 1e-9))
        return [(float(f"{index * step:.12g}"), f"{index * step:.{digits}f}") for index in range(first, last + 1)]

    def _log_ticks(self, count: int) -> list[float]:
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        for factors in ((1, 2, 3, 4, 5, 6, 7, 8, 9), (1, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
            values = [float(f"{factor}e{power}") for power in powers for factor in factors]
            inside = [value for value in values if self.low <= value <= self.high]
            if len(inside) <= count + 1:
                return inside
        stride = math.ceil(len(inside) / count)
        return inside[::stride]


def latency_axis(values: Sequence[float], start: float, end: float) -> Axis:
    """An axis around latencies (all above 0), by logarithm where the greatest is many times the least."""
    low, high = min(values), max(values)
    if high / low >= _LOG_FROM_RATIO:
        return Axis(low / 1.15, high * 1.15, start, end, log=True)
    room = 0.08 * (high - low) or 0.1 * high
    return Axis(max(0.0, low - room), high + room, start, end)


def percent_axis(values: Sequence[float], start: float, end: float) -> Axis:
    """An axis around percentages, within 0 to 100 and at least one point long."""
    low, high = min(values), max(values)
    room = max(0.12 * (high - low), 0.5 * (1 - (high - low)), 0.05)
    return Axis(max(0.0, low - room), min(100.0, high + room), start, end)
