"""Geometry of the latency distributions: one histogram a contender over one shared axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeml.edge_bench.report.axis import latency_axis
from edgeml.edge_bench.report.figures import Row
from edgeml.edge_bench.report.tradeoff_plot import Tick

_Pixels = npt.NDArray[np.float64]

_WIDE, _NARROW = 760.0, 350.0
_BAND = 64.0
_BAR_ROOM = 38.0
_TAIL_REACH = 5.0


@dataclass(frozen=True, kw_only=True)
class Band:
    """One contender's histogram; `beyond` samples, up to `slowest_ms`, lie right of the axis. Pixels."""

    row: Row
    baseline: float
    top: float
    path: str
    median: float
    p90: float | None
    beyond: int
    slowest_ms: float


@dataclass(frozen=True, kw_only=True)
class SpreadPlot:
    """A drawn plot."""

    width: float
    height: float
    left: float
    right: float
    bottom: float
    ticks: list[Tick]
    bands: list[Band]
    log: bool


def spread_plot(rows: Sequence[Row], *, narrow: bool = False) -> SpreadPlot:
    """Histograms of all samples; the axis ends where only stragglers follow, which are counted instead."""
    width = _NARROW if narrow else _WIDE
    left, right = 12.0, width - 12
    samples = [np.asarray(row.contender.latency_ms) for row in rows]
    ends = [_end_of_bulk(s) for s in samples]
    axis = latency_axis([min(float(s.min()) for s in samples), max(ends)], left, right)
    edges_px = np.linspace(left, right, 60 if narrow else 140)
    bottom = 8 + _BAND * len(rows)
    bands = []
    for index, (row, values) in enumerate(zip(rows, samples, strict=True)):
        baseline = 8 + _BAND * (index + 1)
        inside = values[values <= axis.high]
        counts, _ = np.histogram([axis.at(float(v)) for v in inside], bins=edges_px)
        p90 = row.latency.p90
        bands.append(
            Band(
                row=row,
                baseline=baseline,
                top=baseline - _BAND,
                path=_outline(edges_px, counts / max(counts.max(), 1) * _BAR_ROOM, baseline),
                median=axis.at(row.latency.median.value),
                p90=None if p90 is None else axis.at(p90.value),
                beyond=len(values) - len(inside),
                slowest_ms=float(values.max()),
            )
        )
    return SpreadPlot(
        width=width,
        height=bottom + 46,
        left=left,
        right=right,
        bottom=bottom,
        ticks=[Tick(at=axis.at(v), text=t) for v, t in axis.ticks(4 if narrow else 8)],
        bands=bands,
        log=axis.log,
    )


def _end_of_bulk(samples: npt.NDArray[np.float64]) -> float:
    """The slowest sample that is not several times as far above the median as nine tenths of the samples stay."""
    median, p90 = np.quantile(samples, [0.5, 0.9])
    return float(samples[samples <= median + _TAIL_REACH * max(p90 - median, 0.02 * median)].max())


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
