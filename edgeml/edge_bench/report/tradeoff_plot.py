"""Geometry of the main plot: accuracy against latency with the Pareto front, or latency alone where that is all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from edgeml.edge_bench.report.axis import latency_axis, percent_axis
from edgeml.edge_bench.report.figures import Row, timed
from edgeml.edge_bench.report.label_places import Box, Label, place_labels
from edgeml.edge_bench.report.palette import Style
from edgeml.edge_bench.statistics import LatencySummary

_TEXT_SIZE = 13.0
_WIDE, _NARROW = 760.0, 350.0


@dataclass(frozen=True, kw_only=True)
class Tick:
    """A marked value on an axis."""

    at: float
    text: str


@dataclass(frozen=True, kw_only=True)
class Point:
    """A contender in the plot: its mark, its error bars and its name, the number of its front. Pixels."""

    row: Row
    latency: LatencySummary
    x: float
    y: float
    x_low: float
    x_high: float
    y_low: float
    y_high: float
    label: Label | None
    front: int


@dataclass(frozen=True, kw_only=True)
class Front:
    """The Pareto front of one device: SVG path, and the style of the device; None where there is one device only."""

    device: str
    style: Style | None
    path: str


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A drawn plot; without accuracy it has no fronts. `left_out` are the contenders that lack either figure."""

    width: float
    height: float
    frame: Box
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    points: list[Point]
    fronts: list[Front]
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
    """Accuracy in percent against median latency, of those contenders that have both; None if none has.

    Each device has a front of its own: which model to take is a question one asks for a device.
    """
    shown = [
        (row, latency, row.contender.accuracy) for row, latency in timed(rows) if row.contender.accuracy is not None
    ]
    if not shown:
        return None
    width, height = (_NARROW, 340.0) if narrow else (_WIDE, 430.0)
    frame = Box(46.0, 30.0, width - 12, height - 46)
    medians = [latency.median for _, latency, _ in shown]
    accuracies = [100 * accuracy.value for _, _, accuracy in shown]
    intervals = [tuple(100 * bound for bound in accuracy.ci95) for _, _, accuracy in shown]
    x_axis = latency_axis([bound for median in medians for bound in median.ci95], frame.left, frame.right)
    y_axis = percent_axis([bound for interval in intervals for bound in interval], frame.bottom, frame.top)
    pixels = [(x_axis.at(m.value), y_axis.at(a)) for m, a in zip(medians, accuracies, strict=True)]
    bars = [
        (*sorted(map(x_axis.at, m.ci95)), *sorted(map(y_axis.at, i))) for m, i in zip(medians, intervals, strict=True)
    ]
    devices = list(dict.fromkeys(row.device for row, _, _ in shown))
    fronts, corners, leading = [], [], []
    for device in devices:
        members = [index for index, (row, _, _) in enumerate(shown) if row.device == device]
        chosen = [members[i] for i in pareto_front([(medians[m].value, accuracies[m]) for m in members])]
        steps = _step_corners([pixels[index] for index in chosen], frame)
        colour = shown[chosen[0]][0].style if len(devices) > 1 else None
        fronts.append(Front(device=device, style=colour, path="M" + "L".join(f"{x:.2f},{y:.2f}" for x, y in steps)))
        corners += [_around(start, end) for start, end in pairwise(steps)]
        leading += chosen
    labels = _labels([row.short for row, _, _ in shown], pixels, bars, corners, leading, frame)
    return Plot(
        width=width,
        height=height,
        frame=frame,
        x_ticks=[Tick(at=x_axis.at(v), text=t) for v, t in x_axis.ticks(4 if narrow else 8)],
        y_ticks=[Tick(at=y_axis.at(v), text=t) for v, t in y_axis.ticks(5)],
        points=[
            Point(
                row=row, latency=latency, x=x, y=y, x_low=bar[0], x_high=bar[1], y_low=bar[2], y_high=bar[3],
                label=label, front=devices.index(row.device),
            )
            for (row, latency, _), (x, y), bar, label in zip(shown, pixels, bars, labels, strict=True)
        ],
        fronts=fronts,
        log=x_axis.log,
        left_out=[row.label for row in rows if row.contender.accuracy is None or row.latency is None],
    )  # fmt: skip


def _labels(
    texts: Sequence[str],
    pixels: Sequence[tuple[float, float]],
    bars: Sequence[Sequence[float]],
    fronts: Sequence[Box],
    leading: Sequence[int],
    frame: Box,
) -> list[Label | None]:
    """A place for each name; those on a front choose first."""
    obstacles = [Box(x - 8, y - 8, x + 8, y + 8) for x, y in pixels]
    for (x, y), (x_low, x_high, y_low, y_high) in zip(pixels, bars, strict=True):
        obstacles += [Box(x_low, y - 2, x_high, y + 2), Box(x - 2, y_low, x + 2, y_high)]
    order = [*leading, *(index for index in range(len(texts)) if index not in leading)]
    placed = place_labels(
        [pixels[index] for index in order],
        [texts[index] for index in order],
        [*obstacles, *fronts],
        frame,
        size=_TEXT_SIZE,
    )
    found = dict(zip(order, placed, strict=True))
    return [found[index] for index in range(len(texts))]


def _step_corners(pixels: Sequence[tuple[float, float]], frame: Box) -> list[tuple[float, float]]:
    """Steps, since between two contenders there is none: up at each point of the front, then level to the next."""
    corners = [(pixels[0][0], frame.bottom)]
    for x, y in pixels:
        corners += [(x, corners[-1][1]), (x, y)]
    return [*corners, (frame.right, corners[-1][1])]


def _around(start: tuple[float, float], end: tuple[float, float]) -> Box:
    (x, y), (u, v) = start, end
    return Box(min(x, u) - 1, min(y, v) - 1, max(x, u) + 1, max(y, v) + 1)


def latency_plot(rows: Sequence[Row], *, narrow: bool = False) -> Plot | None:
    """Median latency with its interval, one line a contender, for runs without accuracy; None without latencies."""
    shown = timed(rows)
    if not shown:
        return None
    width = _NARROW if narrow else _WIDE
    pitch = 44.0
    height = 12 + pitch * len(shown) + 46
    frame = Box(12.0, 12.0, width - 12, height - 46)
    axis = latency_axis([bound for _, latency in shown for bound in latency.median.ci95], frame.left, frame.right)
    points = []
    for index, (row, latency) in enumerate(shown):
        x, y = axis.at(latency.median.value), frame.top + pitch * index + 30
        low, high = sorted(map(axis.at, latency.median.ci95))
        box = Box(frame.left, y - 26, frame.right, y - 10)
        points.append(
            Point(
                row=row, latency=latency, x=x, y=y, x_low=low, x_high=high, y_low=y, y_high=y, front=0,
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
        fronts=[],
        log=axis.log,
        left_out=[row.label for row in rows if row.latency is None],
    )
