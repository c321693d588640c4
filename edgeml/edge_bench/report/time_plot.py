"""Geometry of plots over time: latency, frequency and temperature, one panel each over one axis of seconds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edgeml.core.bench_result import Reading
from edgeml.core.bench_sustained import Sustained
from edgeml.edge_bench.report.axis import Axis
from edgeml.edge_bench.report.label_places import Box
from edgeml.edge_bench.report.tradeoff_plot import Tick

_WIDE, _NARROW = 760.0, 350.0
_TITLE_ROOM, _GAP = 30.0, 8.0
_TALL, _LOW = 150.0, 84.0
_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)

Series = Sequence[tuple[float, float | None]]


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One quantity over time.

    Attributes:
        title: the quantity with its unit.
        kind: "latency", "frequency" or "temperature".
        frame: where it is drawn, in pixels.
        ticks: round values.
        line: SVG path; interrupted where the device did not tell.
        area: SVG path of what lies between the line and a second, higher one; "" without.
    """

    title: str
    kind: str
    frame: Box
    ticks: list[Tick]
    line: str
    area: str


@dataclass(frozen=True, kw_only=True)
class TimePlot:
    """Panels over one axis of time; `moment` is the place of what is named there, None where there is nothing."""

    width: float
    height: float
    panels: list[Panel]
    ticks: list[Tick]
    moment: float | None
    points: list[Tick]


def clock(seconds: float) -> str:
    """Seconds as people say them: 45 s, 30 min, 8:20 min, 1:05:00 h."""
    whole = round(seconds)
    if whole >= 60 and whole % 3600 == 0:
        return f"{whole // 3600} h"
    if 60 <= whole < 3600 and whole % 60 == 0:
        return f"{whole // 60} min"
    if whole < 60:
        return f"{whole} s" if seconds >= 10 or seconds == whole else f"{seconds:.1f} s"
    hours, rest = divmod(whole, 3600)
    if hours:
        return f"{hours}:{rest // 60:02d}:{rest % 60:02d} h"
    return f"{rest // 60}:{rest % 60:02d} min"


def sustained_plot(sustained: Sustained, *, narrow: bool = False) -> TimePlot | None:
    """Latency under load, above the device's frequency and temperature where it tells them; None without points."""
    points = sustained.points
    if not points:
        return None
    throttling = sustained.throttling
    return _stack(
        [
            (
                "latency",
                "Latency, ms",
                [(point.time_s, point.median_ms) for point in points],
                [(point.time_s, point.p90_ms) for point in points],
            ),
            ("frequency", "Frequency, MHz", [(point.time_s, point.frequency_mhz) for point in points], []),
            ("temperature", "Temperature, °C", [(point.time_s, point.temperature_c) for point in points], []),
        ],
        end_s=max(points[-1].time_s, 1e-3),
        moment_s=None if throttling is None else throttling.time_s,
        narrow=narrow,
    )


def readings_plot(readings: Sequence[Reading], *, narrow: bool = False) -> TimePlot | None:
    """Frequency and temperature over a run; None where the device told neither."""
    if not any(reading.frequency_mhz is not None or reading.temperature_c is not None for reading in readings):
        return None
    return _stack(
        [
            ("frequency", "Frequency, MHz", [(reading.time_s, reading.frequency_mhz) for reading in readings], []),
            ("temperature", "Temperature, °C", [(reading.time_s, reading.temperature_c) for reading in readings], []),
        ],
        end_s=max(*(reading.time_s for reading in readings), 1e-3),
        moment_s=None,
        narrow=narrow,
    )


def _stack(
    series: Sequence[tuple[str, str, Series, Series]], *, end_s: float, moment_s: float | None, narrow: bool
) -> TimePlot:
    """Panels of those series that hold any value, one below the other."""
    width = _NARROW if narrow else _WIDE
    left, right = 52.0, width - 22
    across = Axis(0.0, end_s, left, right)
    panels: list[Panel] = []
    top = 0.0
    for kind, title, line, upper in series:
        values = [value for _, value in (*line, *upper) if value is not None]
        if not values:
            continue
        frame_top = top + _TITLE_ROOM
        frame = Box(left, frame_top, right, frame_top + (_TALL if kind == "latency" else _LOW))
        up = _axis(values, frame)
        panels.append(
            Panel(
                title=title,
                kind=kind,
                frame=frame,
                ticks=[Tick(at=up.at(v), text=t) for v, t in up.ticks(4 if kind == "latency" else 3)],
                line=_line(line, across, up),
                area=_area(line, upper, across, up),
            )
        )
        top = frame.bottom + _GAP
    times = [time for time, _ in series[0][2]]
    return TimePlot(
        width=width,
        height=panels[-1].frame.bottom + 46,
        panels=panels,
        ticks=_time_ticks(across, 4 if narrow else 8),
        moment=None if moment_s is None else across.at(moment_s),
        points=[Tick(at=across.at(time), text=clock(time)) for time in times],
    )


def _axis(values: Sequence[float], frame: Box) -> Axis:
    low, high = min(values), max(values)
    # At least a tenth of the value, so that an even line looks even.
    room = max(0.1 * (high - low), 0.5 * (0.1 * abs(high) - (high - low)), 1e-9)
    return Axis(low - room if low < 0 else max(0.0, low - room), high + room, frame.bottom, frame.top)


def _time_ticks(across: Axis, count: int) -> list[Tick]:
    """Times at round steps of clocks, not of decimals."""
    step = next((step for step in _STEPS_S if across.high / step <= count), math.ceil(across.high / count))
    times = [index * step for index in range(int(across.high / step) + 1)]
    text = _as_seconds if across.high < 120 else _as_minutes if across.high < 7200 else _as_hours
    return [Tick(at=across.at(float(time)), text=text(time)) for time in times]


def _as_seconds(seconds: int) -> str:
    return f"{seconds} s"


def _as_minutes(seconds: int) -> str:
    return f"{seconds // 60} min" if seconds % 60 == 0 else f"{seconds // 60}:{seconds % 60:02d}"


def _as_hours(seconds: int) -> str:
    return f"{seconds // 3600} h" if seconds % 3600 == 0 else f"{seconds // 3600}:{seconds % 3600 // 60:02d}"


def _line(series: Series, across: Axis, up: Axis) -> str:
    path, drawing = "", False
    for time, value in series:
        if value is not None:
            path += f"{'L' if drawing else 'M'}{across.at(time):.1f},{up.at(value):.1f}"
        drawing = value is not None
    return path


def _area(lower: Series, upper: Series, across: Axis, up: Axis) -> str:
    """The band between two series, over those times at which both are told."""
    both = [(time, low, high) for (time, low), (_, high) in zip(lower, upper, strict=False) if None not in (low, high)]
    if len(both) < 2:
        return ""
    there = [f"{across.at(time):.1f},{up.at(high or 0.0):.1f}" for time, _, high in both]
    back = [f"{across.at(time):.1f},{up.at(low or 0.0):.1f}" for time, low, _ in reversed(both)]
    return "M" + "L".join((*there, *back)) + "Z"
