"""Finds room for the names of the points in a plot, so that none covers another name, a mark or an error bar."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Anchor = Literal["start", "middle", "end"]

_GAP = 10.0
_ANGLES = (0, 180, 45, 315, 135, 225, 90, 270, 22, 338, 158, 202, 68, 292, 112, 248)
_DISTANCES = (0.0, 12.0, 26.0, 42.0, 60.0, 80.0, 104.0, 130.0)
_LEADER_FROM = 14.0
# Widths as shares of the font size, on the generous side for the fonts a page may get.
_WIDE, _NARROW, _NORMAL = 1.0, 0.42, 0.7


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels."""

    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: Box) -> bool:
        """Whether the rectangles share any area."""
        return (
            self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom
        )

    def inside(self, other: Box) -> bool:
        """Whether this rectangle lies wholly in the other."""
        return (
            self.left >= other.left
            and self.top >= other.top
            and self.right <= other.right
            and self.bottom <= other.bottom
        )


@dataclass(frozen=True)
class Label:
    """A placed name: `x` is where `anchor` says, `y` its baseline; a leader line runs to it from a far point."""

    text: str
    x: float
    y: float
    anchor: Anchor
    box: Box
    leader: tuple[float, float, float, float] | None


def text_width(text: str, size: float) -> float:
    """About how wide `text` is in pixels at a font size, for a sans-serif face; errs on the wide side."""
    shares = (_NARROW if c in "ijltfrI.,:;|!'()[] " else _WIDE if c in "mwMW@%" else _NORMAL for c in text)
    return size * sum(shares)


def place_labels(
    points: Sequence[tuple[float, float]],
    texts: Sequence[str],
    obstacles: Sequence[Box],
    frame: Box,
    *,
    size: float,
) -> list[Label | None]:
    """A place for each name near its point, trying ever greater distances; None where no place is free.

    Args:
        points: (x, y) of each mark.
        texts: the names, in the same order.
        obstacles: what no name may cover (marks, error bars).
        frame: where names must stay.
        size: font size in pixels.
    """
    taken = list(obstacles)
    labels: list[Label | None] = []
    for (x, y), text in zip(points, texts, strict=True):
        label = next(
            (label for label in _candidates(x, y, text, size) if label.box.inside(frame) and _is_free(label, taken)),
            None,
        )
        labels.append(label)
        if label is not None:
            taken.append(label.box)
    return labels


def _is_free(label: Label, taken: Sequence[Box]) -> bool:
    return not any(label.box.overlaps(other) for other in taken)


def _candidates(x: float, y: float, text: str, size: float) -> list[Label]:
    width, height = text_width(text, size), 1.2 * size
    labels = []
    for distance in _DISTANCES:
        for angle in _ANGLES:
            cosine, sine = math.cos(math.radians(angle)), -math.sin(math.radians(angle))
            reach = _GAP + distance
            anchor_x, anchor_y = x + reach * cosine, y + reach * sine
            # The rectangle touches the anchor with the side or corner that faces the point.
            left = anchor_x - width * (1 - cosine) / 2
            top = anchor_y - height * (1 - sine) / 2
            box = Box(round(left, 1), round(top, 1), round(left + width, 1), round(top + height, 1))
            leader = None
            if distance >= _LEADER_FROM:
                leader = (
                    round(x + 7 * cosine, 1),
                    round(y + 7 * sine, 1),
                    round(anchor_x - 2 * cosine, 1),
                    round(anchor_y - 2 * sine, 1),
                )
            # Text is tied to the side that faces the point, where an error in its width does no harm.
            anchor: Anchor = "start" if cosine > 0.3 else "end" if cosine < -0.3 else "middle"
            at = {"start": box.left, "end": box.right, "middle": (box.left + box.right) / 2}[anchor]
            labels.append(Label(text, round(at, 1), round(box.top + 0.92 * size, 1), anchor, box, leader))
    return labels
