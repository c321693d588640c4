"""The colour and the mark of each contender: the same in every plot, told apart without colour vision as well."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Mark = Literal["circle", "square", "diamond", "triangle", "cross"]

# Found by search: among colours of these six hues that stand out from the page by at least 3:1, the set whose closest
# pair is farthest apart in OKLab, as seen with normal vision and as simulated (Machado, Oliveira and Fernandes, IEEE
# TVCG 2009) without each kind of cone. Their lightness differs most, so they hold in grey as well.
LIGHT = ("#3884fc", "#aa5c02", "#14361c", "#7f076d", "#9e9265", "#6e61ae")
DARK = ("#3275f1", "#d76104", "#b5facf", "#9b529c", "#fcba4c", "#ab97c4")
MARKS: tuple[Mark, ...] = ("circle", "square", "diamond", "triangle", "cross")


@dataclass(frozen=True)
class Style:
    """How a contender is drawn: the number of its colour in the palette, the shape of its mark, filled or hollow."""

    colour: int
    mark: Mark
    hollow: bool = False

    def path(self, x: float, y: float, radius: float = 5.5) -> str:
        """SVG path of the mark around a point, all shapes of about the same area."""
        r = radius
        match self.mark:
            case "circle":
                return f"M{x - r:.2f},{y:.2f}a{r},{r} 0 1 0 {2 * r},0a{r},{r} 0 1 0 {-2 * r},0Z"
            case "square":
                s = 0.89 * r
                return f"M{x - s:.2f},{y - s:.2f}h{2 * s:.2f}v{2 * s:.2f}h{-2 * s:.2f}Z"
            case "diamond":
                d = 1.25 * r
                return f"M{x:.2f},{y - d:.2f}l{d:.2f},{d:.2f}l{-d:.2f},{d:.2f}l{-d:.2f},{-d:.2f}Z"
            case "triangle":
                t = 1.3 * r
                return f"M{x:.2f},{y - t:.2f}l{t:.2f},{1.8 * t:.2f}h{-2 * t:.2f}Z"
            case "cross":
                w, c = 0.42 * r, 1.25 * r
                side = c - w
                return (
                    f"M{x - w:.2f},{y - c:.2f}h{2 * w:.2f}v{side:.2f}h{side:.2f}v{2 * w:.2f}h{-side:.2f}v{side:.2f}"
                    f"h{-2 * w:.2f}v{-side:.2f}h{-side:.2f}v{-2 * w:.2f}h{side:.2f}Z"
                )


def style(index: int) -> Style:
    """Colour and mark of the contender with this index; the pairs repeat after 30."""
    return Style(index % len(LIGHT), MARKS[index % len(MARKS)])
