"""Geometry of the latency distributions: one histogram a contender, each over an axis of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeml.edge_bench.noise import two_modes
from edgeml.edge_bench.report.axis import Axis
from edgeml.edge_bench.report.figures import Row, timed
from edgeml.edge_bench.report.tradeoff_plot import Tick
from edgeml.edge_bench.statistics import LatencySummary

_Pixels = npt.NDArray[np.float64]

_WIDE, _NARROW = 760.0, 350.0
_BAR_ROOM = 46.0
_AXIS_ROOM = 30.0
_TAIL_REACH = 5.0


@dataclass(frozen=True, kw_only=True)
class Band:
    """One contender's histogram in pixels.

    Attributes:
        row: the contender.
        latency: its figures.
        width: of the drawing.
        height: of the drawing.
        left: where the axis begins.
        right: where it ends.
        baseline: on which the histogram stands.
        path: SVG path of the histogram.
        median: place of the median.
        p90: place of the 90th percentile; None with too few samples.
        launches: place of each launch's median.
        modes: places and names of the two latencies around which the samples gather; empty where it is one.
        ticks: round latencies.
        beyond: samples right of the axis.
        slowest_ms: the slowest sample.
    """

    row: Row
    latency: LatencySummary
    width: float
    height: float
    left: float
    right: float
    baseline: float
    path: str
    median: float
    p90: float | None
    launches: list[float]
    modes: list[Tick]
    ticks: list[Tick]
    beyond: int
    slowest_ms: float


def spread_bands(rows: Sequence[Row], *, narrow: bool = False) -> list[Band]:
    """Histograms of all samples of a contender; an axis ends where only stragglers follow, which are counted instead.

    Each has an axis of its own: over one for all, a contender that is quick and even would be a single bar.
    """
    return [_band(row, latency, narrow=narrow) for row, latency in timed(rows)]


def _band(row: Row, latency: LatencySummary, *, narrow: bool) -> Band:
    width = _NARROW if narrow else _WIDE
    left, right = 12.0, width - 12
    baseline = _BAR_ROOM
    values = np.asarray(row.contender.latency_ms)
    axis = _axis(values, left, right)
    inside = values[values <= axis.high]
    edges = np.linspace(left, right, _bins(inside, axis, 56 if narrow else 120) + 1)
    counts, _ = np.histogram([axis.at(float(v)) for v in inside], bins=edges)
    modes = two_modes(row.contender.launches)
    return Band(
        row=row,
        latency=latency,
        width=width,
        height=baseline + _AXIS_ROOM,
        left=left,
        right=right,
        baseline=baseline,
        path=_outline(edges, counts / max(counts.max(), 1) * (_BAR_ROOM - 8), baseline),
        median=axis.at(latency.median.value),
        p90=None if latency.p90 is None else axis.at(latency.p90.value),
        launches=[axis.at(float(np.median(launch.latency_ms))) for launch in row.contender.launches],
        modes=[Tick(at=axis.at(mode), text=f"{mode:.3g} ms") for mode in modes or ()],
        ticks=[Tick(at=axis.at(v), text=t) for v, t in axis.ticks(4 if narrow else 8)],
        beyond=len(values) - len(inside),
        slowest_ms=float(values.max()),
    )


def end_of_bulk(samples: npt.NDArray[np.float64]) -> float:
    """The slowest sample that is not several times as far above the median as nine tenths of the samples stay."""
    median, p90 = np.quantile(samples, [0.5, 0.9])
    return float(samples[samples <= median + _TAIL_REACH * max(p90 - median, 0.02 * median)].max())


def _axis(values: npt.NDArray[np.float64], left: float, right: float) -> Axis:
    low, high = float(values.min()), end_of_bulk(values)
    room = 0.03 * (high - low) or 0.05 * high
    return Axis(max(0.0, low - room), high + room, left, right)


def _bins(inside: npt.NDArray[np.float64], axis: Axis, most: int) -> int:
    """How many bins, by the rule of Freedman and Diaconis (1981) with the shortest half in place of the quartiles.

    The two agree for one hill; with two, the quartiles lie in different ones and would make the bins too wide.
    """
    ordered, half = np.sort(inside), len(inside) // 2
    width = 2 * float((ordered[half:] - ordered[: len(ordered) - half]).min()) / len(inside) ** (1 / 3)
    return most if width <= 0 else int(min(most, max(12, round((axis.high - axis.low) / width))))


def _outline(edges: _Pixels, heights: _Pixels, baseline: float) -> str:
    """SVG path of a histogram's filled outline; empty stretches are left out."""
    path, drawing = "", False
    for index, height in enumerate(heights):
        if height > 0:
            if not drawing:
                path += f"M{edges[index]:.1f},{baseline:.1f}"
            path += f"V{baseline - max(height, 1.0):.1f}H{edges[index + 1]:.1f}"
        elif drawing:
            path += f"V{baseline:.1f}Z"
        drawing = height > 0
    return f"{path}V{baseline:.1f}Z" if drawing else path
