"""Geometry of the roofline: the rate of each operator against its arithmetic intensity, below what the device allows.

Williams, Waterman and Patterson, "Roofline: an insightful visual performance model", CACM 2009.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edgeml.core.bench_profile import OperatorTime, Peaks, Profile
from edgeml.edge_bench.report.axis import Axis
from edgeml.edge_bench.report.label_places import Box, Label, place_labels, text_width
from edgeml.edge_bench.report.tradeoff_plot import Tick

_WIDE, _NARROW = 760.0, 350.0
_TEXT_SIZE = 12.0
_NAMED = 4
_LONGEST_NAME = 26


@dataclass(frozen=True, kw_only=True)
class Roof:
    """A limit of the device: SVG path, and its name with its place; `angle` in degrees turns it along the slope."""

    path: str
    text: str
    x: float
    y: float
    anchor: str
    angle: float
    boxes: tuple[Box, ...]


@dataclass(frozen=True, kw_only=True)
class RooflinePoint:
    """An operator in the plot; its area grows with its share of the time. Pixels."""

    operator: OperatorTime
    intensity: float
    x: float
    y: float
    radius: float
    label: Label | None


@dataclass(frozen=True, kw_only=True)
class RooflinePlot:
    """A drawn plot."""

    width: float
    height: float
    frame: Box
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    roofs: list[Roof]
    points: list[RooflinePoint]
    left_out: int


def roofline_plot(profile: Profile, *, narrow: bool = False) -> RooflinePlot | None:
    """Operators with known operations and bytes under the measured peaks; None where there are none of either."""
    peaks = profile.peaks
    shown = [(operator, intensity) for operator in profile.operators if (intensity := _intensity(operator)) is not None]
    if peaks is None or not shown or min(peaks.gflops_float32, peaks.gigabytes_per_second) <= 0:
        return None
    shown.sort(key=lambda pair: -pair[0].share)
    width, height = (_NARROW, 340.0) if narrow else (_WIDE, 400.0)
    frame = Box(52.0, 30.0, width - 12, height - 46)
    x_axis, y_axis = _axes(shown, peaks, frame)
    pixels = [(x_axis.at(intensity), y_axis.at(operator.gflops or 0.0)) for operator, intensity in shown]
    radii = [round(3.0 + 13.0 * operator.share**0.5, 2) for operator, _ in shown]
    obstacles = [Box(x - r, y - r, x + r, y + r) for (x, y), r in zip(pixels, radii, strict=True)]
    roofs = _roofs(peaks, x_axis, y_axis, obstacles)
    obstacles += [box for roof in roofs for box in roof.boxes]
    named = min(_NAMED if not narrow else 3, len(shown))
    labels = place_labels(
        pixels[:named], [_brief(operator.name) for operator, _ in shown[:named]], obstacles, frame, size=_TEXT_SIZE
    )
    return RooflinePlot(
        width=width,
        height=height,
        frame=frame,
        x_ticks=[Tick(at=x_axis.at(v), text=t) for v, t in x_axis.ticks(3 if narrow else 6)],
        y_ticks=[Tick(at=y_axis.at(v), text=t) for v, t in y_axis.ticks(5)],
        roofs=roofs,
        points=[
            RooflinePoint(
                operator=operator, intensity=intensity, x=x, y=y, radius=radius,
                label=labels[index] if index < named else None,
            )
            for index, ((operator, intensity), (x, y), radius) in enumerate(zip(shown, pixels, radii, strict=True))
        ],
        left_out=len(profile.operators) - len(shown),
    )  # fmt: skip


def _brief(name: str) -> str:
    """The end of a long name, which is what tells operators apart."""
    return name if len(name) <= _LONGEST_NAME else f"…{name[1 - _LONGEST_NAME :]}"


def _intensity(operator: OperatorTime) -> float | None:
    """Operations a byte; None where either is not known or nothing is computed."""
    if not operator.macs or not operator.bytes_moved or not operator.gflops:
        return None
    if min(operator.macs, operator.bytes_moved, operator.gflops) <= 0:
        return None
    return 2 * operator.macs / operator.bytes_moved


def _axes(shown: Sequence[tuple[OperatorTime, float]], peaks: Peaks, frame: Box) -> tuple[Axis, Axis]:
    """By logarithm both, around the operators, the ridge and the roofs."""
    tops = [peaks.gflops_float32, *([peaks.gops_int8] if peaks.gops_int8 else [])]
    ridges = [top / peaks.gigabytes_per_second for top in tops]
    across = [intensity for _, intensity in shown]
    rates = [operator.gflops or 1.0 for operator, _ in shown]
    return (
        Axis(min(*across, *ridges) / 2, max(*across, *ridges) * 2.5, frame.left, frame.right, log=True),
        Axis(min(*rates, *tops) / 2, max(*rates, *tops) * 2, frame.bottom, frame.top, log=True),
    )


def _roofs(peaks: Peaks, x_axis: Axis, y_axis: Axis, circles: Sequence[Box]) -> list[Roof]:
    highest = max(peaks.gflops_float32, peaks.gops_int8 or 0.0)
    bandwidth = peaks.gigabytes_per_second
    # The slope begins where it enters the frame, from the left or from below.
    first = max(x_axis.low, y_axis.low / bandwidth)
    begin = (x_axis.at(first), y_axis.at(first * bandwidth))
    end = (x_axis.at(highest / bandwidth), y_axis.at(highest))
    roofs = [_slope(f"memory {bandwidth:.3g} GB/s", begin, end, circles)]
    for name, peak in (("float32", peaks.gflops_float32), ("int8", peaks.gops_int8)):
        if peak:
            left, y = x_axis.at(peak / bandwidth), y_axis.at(peak)
            roofs.append(_level(f"{name} {peak:.3g} Gop/s", left, x_axis.end, y, [*circles, *roofs[0].boxes]))
    return roofs


def _level(text: str, left: float, right: float, y: float, circles: Sequence[Box]) -> Roof:
    """A peak, named at its right end or, where there is more room, further left."""
    width = text_width(text, _TEXT_SIZE)
    starts = [right - 4 - width - shift for shift in range(0, round(max(1.0, right - left - width - 12)), 10)]
    # Above the line where that is as free as below it.
    places = [Box(start, y + below, start + width, y + below + 16) for below in (-19, 4) for start in starts]
    box = min(places, key=lambda place: _covered(place, circles))
    return Roof(
        path=f"M{left},{y}H{right}",
        text=text,
        x=round(box.right, 1),
        y=round(box.bottom - 4, 1),
        anchor="end",
        angle=0.0,
        boxes=(Box(left, y - 2, right, y + 2), box),
    )


def _slope(text: str, begin: tuple[float, float], end: tuple[float, float], circles: Sequence[Box]) -> Roof:
    """The memory's rate, named along the line, where fewest circles are, on the side where no operator can be."""
    across, up = end[0] - begin[0], end[1] - begin[1]
    length = math.hypot(across, up) or 1.0
    width = text_width(text, _TEXT_SIZE)

    def place(along: float) -> tuple[float, float]:
        return (
            begin[0] + along * across / length + 7 * up / length,
            begin[1] + along * up / length - 7 * across / length,
        )

    def pieces(along: float) -> list[Box]:
        """The name's rectangle, turned, as a row of small upright ones."""
        spots = [place(along + step) for step in range(0, round(width) + 8, 8)]
        return [Box(x - 8, y - 12, x + 8, y + 4) for x, y in spots]

    starts = [float(step) for step in range(10, max(11, round(length - width)), 10)]
    start = min(starts, key=lambda along: sum(_covered(box, circles) for box in pieces(along)))
    x, y = place(start)
    steps = max(1, round(length / 10))
    line = [
        Box(begin[0] + across * i / steps - 5, begin[1] + up * i / steps - 5,
            begin[0] + across * i / steps + 5, begin[1] + up * i / steps + 5)
        for i in range(steps + 1)
    ]  # fmt: skip
    return Roof(
        path=f"M{begin[0]},{begin[1]}L{end[0]},{end[1]}",
        text=text,
        x=round(x, 1),
        y=round(y, 1),
        anchor="start",
        angle=round(math.degrees(math.atan2(up, across)), 1),
        boxes=(*line, *pieces(start)),
    )


def _covered(box: Box, circles: Sequence[Box]) -> int:
    return sum(box.overlaps(circle) for circle in circles)
