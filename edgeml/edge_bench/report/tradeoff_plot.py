"""Geometry of the main plot: accuracy against latency with the Pareto front, or latency alone where that is all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from edgeml.edge_bench.report.axis import latency_axis, percent_axis
from edgeml.edge_bench.report.figures import Row
from edgeml.edge_bench.report.label_places import Box, Label, place_labels

_TEXT_SIZE = 13.0
_WIDE, _NARROW = 760.0, 350.0


@dataclass(frozen=True, kw_only=True)
class Tick:
    """A marked value on an axis."""

    at: float
    text: str


@dataclass(frozen=True, kw_only=True)
class Point:
    """A contender in the plot: its mark, its error bars and its name. Pixels."""

    row: Row
    x: float
    y: float
    x_low: float
    x_high: float
    y_low: float
    y_high: float
    label: Label | None


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A drawn plot; `front` is the SVG path of the Pareto front, "" where accuracy was not measured."""

    width: float
    height: float
    frame: Box
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    points: list[Point]
    front: str
    log: bool
    left_out: list[str]


def pareto_front(values: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the (latency, accuracy) pairs that no other pair beats in both, fastest first."""
    order = sorted(range(len(values)), key=lambda index: (values[index][0], -values[index][1]))
    front: list[int] = []
    for index in order:
        if not front or values[index][1] > values[front[-1]][1]:
            front.append(index)
    return front


def tradeoff_plot(rows: Sequence[Row], *, narrow: bool = False) -> Plot | None:
    """Accuracy in percent against median latency, of those contenders whose accuracy is known; None if of none is."""
    shown = [row for row in rows if row.contender.accuracy is not None]
    if not shown:
        return None
    width, height = (_NARROW, 340.0) if narrow else (_WIDE, 430.0)
    frame = Box(46.0, 30.0, width - 12, height - 46)
    accuracies, intervals = [], []
    for row in shown:
        assert row.contender.accuracy is not None
        accuracies.append(100 * row.contender.accuracy.value)
        intervals.append(tuple(100 * bound for bound in row.contender.accuracy.ci95))
    medians = [row.latency.median for row in shown]
    x_axis = latency_axis([bound for median in medians for bound in median.ci95], frame.left, frame.right)
    y_axis = percent_axis([bound for interval in intervals for bound in interval], frame.bottom, frame.top)
    pixels = [(x_axis.at(m.value), y_axis.at(a)) for m, a in zip(medians, accuracies, strict=True)]
    bars = [
        (*sorted(map(x_axis.at, m.ci95)), *sorted(map(y_axis.at, i))) for m, i in zip(medians, intervals, strict=True)
    ]
    obstacles = [Box(x - 8, y - 8, x + 8, y + 8) for x, y in pixels]
    for (x, y), (x_low, x_high, y_low, y_high) in zip(pixels, bars, strict=True):
        obstacles += [Box(x_low, y - 2, x_high, y + 2), Box(x - 2, y_low, x + 2, y_high)]
    front = pareto_front([(m.value, a) for m, a in zip(medians, accuracies, strict=True)])
    corners = _step_corners([pixels[index] for index in front], frame)
    obstacles += [_around(start, end) for start, end in pairwise(corners)]
    labels = place_labels(pixels, [row.label for row in shown], obstacles, frame, size=_TEXT_SIZE)
    return Plot(
        width=width,
        height=height,
        frame=frame,
        x_ticks=[Tick(at=x_axis.at(v), text=t) for v, t in x_axis.ticks(4 if narrow else 8)],
        y_ticks=[Tick(at=y_axis.at(v), text=t) for v, t in y_axis.ticks(5)],
        points=[
            Point(row=row, x=x, y=y, x_low=bar[0], x_high=bar[1], y_low=bar[2], y_high=bar[3], label=label)
            for row, (x, y), bar, label in zip(shown, pixels, bars, labels, strict=True)
        ],
        front="M" + "L".join(f"{x:.2f},{y:.2f}" for x, y in corners),
        log=x_axis.log,
        left_out=[row.label for row in rows if row.contender.accuracy is None],
    )


def _step_corners(pixels: Sequence[tuple[float, float]], frame: Box) -> list[tuple[float, float]]:
    """Steps, since between two contenders there is none: up at each point of the front, then level to the next."""
    corners = [(pixels[0][0], frame.bottom)]
    for x, y in pixels:
        corners += [(x, corners[-1][1]), (x, y)]
    return [*corners, (frame.right, corners[-1][1])]


def _around(start: tuple[float, float], end: tuple[float, float]) -> Box:
    (x, y), (u, v) = start, end
    return Box(min(x, u) - 1, min(y, v) - 1, max(x, u) + 1, max(y, v) + 1)


def latency_plot(rows: Sequence[Row], *, narrow: bool = False) -> Plot:
    """Median latency with its interval, one line a contender, for runs without accuracy."""
    width = _NARROW if narrow else _WIDE
    pitch = 44.0
    height = 12 + pitch * len(rows) + 46
    frame = Box(12.0, 12.0, width - 12, height - 46)
    medians = [row.latency.median for row in rows]
    axis = latency_axis([bound for median in medians for bound in median.ci95], frame.left, frame.right)
    points = []
    for index, (row, median) in enumerate(zip(rows, medians, strict=True)):
        x, y = axis.at(median.value), frame.top + pitch * index + 30
        low, high = sorted(map(axis.at, median.ci95))
        box = Box(frame.left, y - 26, frame.right, y - 10)
        points.append(
            Point(
                row=row, x=x, y=y, x_low=low, x_high=high, y_low=y, y_high=y,
                label=Label(row.label, frame.left, y - 13, "start", box, None),
            )
        )  # fmt: skip
    return Plot(
        width=width,
        height=height,
        frame=frame,
        x_ticks=[Tick(at=axis.at(v), text=t) for v, t in axis.ticks(4 if narrow else 8)],
        y_ticks=[],
        points=points,
        front="",
        log=axis.log,
        left_out=[],
    )
