"""Geometry of the cumulative distributions: for each latency, the share of the samples that were as quick."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeml.edge_bench.report.axis import latency_axis
from edgeml.edge_bench.report.figures import Row, timed
from edgeml.edge_bench.report.label_places import Box
from edgeml.edge_bench.report.spread_plot import end_of_bulk
from edgeml.edge_bench.report.tradeoff_plot import Tick
from edgeml.edge_bench.statistics import minimum_samples

_WIDE, _NARROW = 760.0, 350.0
_SHARES = tuple(index / 100 for index in range(101))
_MARKED = (25, 50, 75, 90)
TABLE_SHARES = (0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
"""Quantiles that the table behind the plot holds."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One contender's empirical distribution.

    Attributes:
        row: the contender.
        path: SVG path.
        quantiles_ms: its latencies in milliseconds at `TABLE_SHARES`; None where the samples are too few to bear one.
        marks: (x, y) in pixels, percent and latency of a few points of the curve.
    """

    row: Row
    path: str
    quantiles_ms: tuple[float | None, ...]
    marks: tuple[tuple[float, float, int, float], ...]


@dataclass(frozen=True, kw_only=True)
class CumulativePlot:
    """A drawn plot."""

    width: float
    height: float
    frame: Box
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    curves: list[Curve]
    log: bool


def cumulative_plot(rows: Sequence[Row], *, narrow: bool = False) -> CumulativePlot | None:
    """The empirical distributions over one axis, by logarithm where latencies differ many times; None without any."""
    shown = [(row, np.sort(np.asarray(row.contender.latency_ms))) for row, _ in timed(rows)]
    if not shown:
        return None
    width, height = (_NARROW, 300.0) if narrow else (_WIDE, 340.0)
    frame = Box(46.0, 30.0, width - 12, height - 46)
    ends = [end_of_bulk(values) for _, values in shown]
    axis = latency_axis([*(float(values[0]) for _, values in shown), *ends], frame.left, frame.right)

    def up(share: float) -> float:
        return round(frame.bottom - share * (frame.bottom - frame.top), 1)

    curves = []
    for row, values in shown:
        # Inverted, not interpolated: a quantile is a latency that was measured.
        steps = np.quantile(values, _SHARES, method="inverted_cdf")
        pixels = [(round(axis.at(float(step)), 1), up(share)) for share, step in zip(_SHARES, steps, strict=True)]
        curves.append(
            Curve(
                row=row,
                path="M" + "L".join(f"{x:g},{y:g}" for x, y in pixels),
                quantiles_ms=tuple(_quantile(values, share) for share in TABLE_SHARES),
                marks=tuple((*pixels[percent], percent, float(steps[percent])) for percent in _MARKED),
            )
        )
    return CumulativePlot(
        width=width,
        height=height,
        frame=frame,
        x_ticks=[Tick(at=axis.at(v), text=t) for v, t in axis.ticks(4 if narrow else 8)],
        y_ticks=[Tick(at=up(share), text=f"{100 * share:.0f}") for share in (0, 0.25, 0.5, 0.75, 0.9, 1)],
        curves=curves,
        log=axis.log,
    )


def _quantile(values: npt.NDArray[np.float64], share: float) -> float | None:
    if len(values) < minimum_samples(max(share, 1 - share)):
        return None
    return float(np.quantile(values, share, method="inverted_cdf"))
