"""Geometry of the plot over time: each contender's latency frame by frame, and below it what the stream computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgeml.edge_bench.report.axis import Axis
from edgeml.edge_bench.report.label_places import Box
from edgeml.edge_bench.report.palette import Style, style
from edgeml.edge_bench.report.tradeoff_plot import Tick
from edgeml.edge_bench.video.figures import active_tiles, summarize
from edgeml.edge_bench.video.results import VideoResult
from edgeml.edge_bench.video.sentences import NAMES

_WIDE, _NARROW = 760.0, 350.0
_LATENCY_HEIGHT, _SHARE_HEIGHT, _GAP = 200.0, 110.0, 40.0


@dataclass(frozen=True, kw_only=True)
class Line:
    """One contender's latency, or one share, over the frames; `path` is SVG."""

    label: str
    style: Style
    path: str


@dataclass(frozen=True, kw_only=True)
class TimelinePlot:
    """A drawn plot; all positions in pixels.

    Attributes:
        width: of the drawing.
        height: of the drawing.
        latency: frame of the upper part, milliseconds upwards.
        share: frame of the lower part, percent of pixels upwards.
        frame_ticks: frame numbers.
        latency_ticks: milliseconds.
        share_ticks: percent.
        lines: latency of each contender.
        mean_share: of changed pixels, the mean over the gated steps; "" where no step is gated.
        range_share: outline from the step with the least share to that with the greatest; "" as above.
        tile_share: of the convolutions that was computed; "" where none is computed in tiles.
        keys: places of key frames.
    """

    width: float
    height: float
    latency: Box
    share: Box
    frame_ticks: list[Tick]
    latency_ticks: list[Tick]
    share_ticks: list[Tick]
    lines: list[Line]
    mean_share: str
    range_share: str
    tile_share: str
    keys: list[float]


def timeline_plot(result: VideoResult, *, narrow: bool = False) -> TimelinePlot:
    """Latency, share of changed pixels and share of what was computed of each frame, key frames marked."""
    width = _NARROW if narrow else _WIDE
    left, right = 46.0, width - 12
    latency = Box(left, 30.0, right, 30.0 + _LATENCY_HEIGHT)
    share = Box(left, latency.bottom + _GAP, right, latency.bottom + _GAP + _SHARE_HEIGHT)
    series = [summarize(contender).per_frame for contender in result.contenders]
    across = Axis(0.0, float(result.frames - 1), left, right)
    upwards = Axis(0.0, 1.05 * max(map(max, series)), latency.bottom, latency.top)
    percent = Axis(0.0, 100.0, share.bottom, share.top)
    stream = result.contenders[0]
    shares = np.array([facts.changed for facts in stream.facts]) * 100
    gated = shares.size > 0
    tiles = [100 * share for share in active_tiles(stream)]
    return TimelinePlot(
        width=width,
        height=share.bottom + 46,
        latency=latency,
        share=share,
        frame_ticks=[Tick(at=across.at(v), text=t) for v, t in across.ticks(4 if narrow else 8) if v == int(v)],
        latency_ticks=[Tick(at=upwards.at(v), text=t) for v, t in upwards.ticks(4)],
        share_ticks=[Tick(at=percent.at(v), text=f"{v:g}") for v in (0.0, 50.0, 100.0)],
        lines=[
            Line(label=NAMES[contender.form], style=style(index), path=_path(values, across, upwards))
            for index, (contender, values) in enumerate(zip(result.contenders, series, strict=True))
        ],
        mean_share=_path(shares.mean(axis=1).tolist(), across, percent) if gated else "",
        range_share=_band(shares.min(axis=1).tolist(), shares.max(axis=1).tolist(), across, percent) if gated else "",
        tile_share=_path(tiles, across, percent) if tiles else "",
        keys=[across.at(float(index)) for index, facts in enumerate(stream.facts) if facts.key],
    )


def _path(values: Sequence[float], across: Axis, upwards: Axis) -> str:
    return "M" + "L".join(_points(values, across, upwards))


def _band(low: Sequence[float], high: Sequence[float], across: Axis, upwards: Axis) -> str:
    there, back = _points(high, across, upwards), _points(low, across, upwards)[::-1]
    return "M" + "L".join((*there, *back)) + "Z"


def _points(values: Sequence[float], across: Axis, upwards: Axis) -> list[str]:
    return [f"{across.at(float(index))},{upwards.at(value)}" for index, value in enumerate(values)]
