"""What a report says of a device under load and during a run: plots over time, and a sentence on what they show."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from edgeml.core.bench_result import BenchResult, Reading
from edgeml.core.bench_sustained import Sustained, SustainedPoint, Throttling
from edgeml.core.host import HostInfo
from edgeml.edge_bench.report.figures import Row
from edgeml.edge_bench.report.time_plot import TimePlot, clock, readings_plot, sustained_plot
from edgeml.edge_bench.report.words import milliseconds

LISTED = 240
"""Points in the table behind a plot at most."""

_WIDTHS = (("wide", False), ("narrow", True))


@dataclass(frozen=True, kw_only=True)
class SustainedView:
    """A contender under load.

    Attributes:
        row: the contender.
        sentence: what the plot shows.
        moment: the name of the moment of throttling; "" where latency held.
        throttled: whether latency did not hold.
        plots: the drawings, each with the name of its width.
        listed: every `stride`-th point.
        stride: 1 where all are listed.
    """

    row: Row
    sentence: str
    moment: str
    throttled: bool
    plots: list[tuple[TimePlot, str]]
    listed: tuple[SustainedPoint, ...]
    stride: int


@dataclass(frozen=True, kw_only=True)
class ReadingsView:
    """The state of the device of one run; `last_s` is the time of its last reading in seconds."""

    run: int
    host: HostInfo
    sentence: str
    plots: list[tuple[TimePlot, str]]
    listed: tuple[Reading, ...]
    last_s: float


def sustained_views(rows: Sequence[Row]) -> list[SustainedView]:
    """Those contenders that were put under load."""
    views = []
    for row in rows:
        sustained = row.contender.sustained
        if sustained is None:
            continue
        plots = [(sustained_plot(sustained, narrow=narrow), kind) for kind, narrow in _WIDTHS]
        stride = -(-len(sustained.points) // LISTED) or 1
        views.append(
            SustainedView(
                row=row,
                sentence=_sustained_sentence(sustained),
                moment="" if sustained.throttling is None else _moment(sustained.throttling),
                throttled=sustained.throttling is not None,
                plots=[(plot, kind) for plot, kind in plots if plot is not None],
                listed=sustained.points[::stride],
                stride=stride,
            )
        )
    return views


def readings_views(results: Sequence[BenchResult]) -> list[ReadingsView]:
    """Those runs whose device told of its frequency or temperature."""
    views = []
    for number, result in enumerate(results, 1):
        plots = [(readings_plot(result.readings, narrow=narrow), kind) for kind, narrow in _WIDTHS]
        drawn = [(plot, kind) for plot, kind in plots if plot is not None]
        if drawn:
            stride = -(-len(result.readings) // LISTED)
            views.append(
                ReadingsView(
                    run=number,
                    host=result.host,
                    sentence=_readings_sentence(result.readings),
                    plots=drawn,
                    listed=result.readings[::stride],
                    last_s=max(reading.time_s for reading in result.readings),
                )
            )
    return views


def _moment(throttling: Throttling) -> str:
    word = "throttled at" if throttling.cause == "heat" else "slower from"
    return f"{word} {clock(throttling.time_s)}"


def _sustained_sentence(sustained: Sustained) -> str:
    points, throttling = sustained.points, sustained.throttling
    if not points:
        return "No interval of load was finished."
    hottest = max((point.temperature_c for point in points if point.temperature_c is not None), default=None)
    if throttling is None:
        part = max(1, len(points) // 10)
        first = statistics.median(point.median_ms for point in points[:part])
        last = statistics.median(point.median_ms for point in points[-part:])
        heat = "" if hottest is None else f", at most {hottest:.0f} °C"
        return (
            f"Latency held for {clock(points[-1].time_s)}: {milliseconds(first)} ms at the beginning, "
            f"{milliseconds(last)} ms at the end{heat}."
        )
    at = "" if throttling.temperature_c is None else f" at {throttling.temperature_c:.0f} °C"
    slower = f"From {clock(throttling.time_s)} on it was {throttling.slowdown:.2f}x slower"
    if throttling.frequency_drop is not None and throttling.cause == "heat":
        return f"{slower}: the device throttled{at}, its frequency fell by {100 * throttling.frequency_drop:.0f}%."
    if throttling.cause == "heat":
        return f"{slower}: the device throttled{at}."
    known = "" if throttling.frequency_drop is None else ", though its frequency held"
    return f"{slower}{at}, unexplained: the device told of no throttling{known}."


def _readings_sentence(readings: Sequence[Reading]) -> str:
    clauses = []
    frequencies = [reading.frequency_mhz for reading in readings if reading.frequency_mhz is not None]
    temperatures = [reading.temperature_c for reading in readings if reading.temperature_c is not None]
    if frequencies:
        low, high = round(min(frequencies)), round(max(frequencies))
        clauses.append(f"its clock stayed at {low} MHz" if low == high else f"its clock ran at {low} to {high} MHz")
    if temperatures:
        low, high = round(min(temperatures)), round(max(temperatures))
        clauses.append(f"it stayed at {low} °C" if low == high else f"it was {low} to {high} °C warm")
    sentence = " and ".join(clauses)
    return f"{sentence[0].upper()}{sentence[1:]}."
