"""How many bits key frames and residuals have, and how tiles choose theirs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgeml.core.errors import UsageError
from edgeml.models.video.resq.ranges import check_bits

# The bit-widths a tile of a residual can have: it is left out, coarse or fine.
TILE_BITS = (0, 4, 8)
FLOAT_BITS = 32


@dataclass(frozen=True)
class Bits:
    """Of the weights and of the activations they meet; None leaves float32.

    Raises:
        UsageError: one is neither None nor 2 to 8.
    """

    weights: int | None
    activations: int | None

    def __post_init__(self) -> None:
        for bits in (self.weights, self.activations):
            if bits is not None:
                check_bits(bits)

    @property
    def product(self) -> int:
        """Bit-operations of one multiply-accumulate; float32 counts as 32 bits."""
        weights, activations = (FLOAT_BITS if bits is None else bits for bits in (self.weights, self.activations))
        return weights * activations

    def __str__(self) -> str:
        return "/".join("fp32" if bits is None else str(bits) for bits in (self.weights, self.activations))


EIGHT = Bits(8, 8)
FOUR = Bits(4, 4)
FLOAT = Bits(None, None)


@dataclass(frozen=True)
class TilePolicy:
    """Dynamic-ResQ: each tile of a layer's residual takes the fewest of 0, 4 and 8 bits that are good enough.

    All widths share one step, so that a tile's width follows from its largest magnitude m alone: 0 bits for
    m <= tolerance, 4 for m <= 7 + tolerance, 8 otherwise, in steps. The paper's own policy is not published; this is
    ours: b = min{b in {0, 4, 8}: max |d - Q_b(d)| <= tolerance}, over the pixels and channels of a tile.

    Attributes:
        tile: height and width of a tile, in pixels of the layer's input.
        step: in steps of the key frame's activations.
        tolerance: in steps of the residual; 0.5 loses nothing to 8 bits everywhere.

    Raises:
        UsageError: an attribute is out of its range.
    """

    tile: int = 8
    step: float = 4.0
    tolerance: float = 1.0

    def __post_init__(self) -> None:
        if self.tile < 1:
            raise UsageError(f"tiles of {self.tile} pixels; they have 1 or more")
        if not self.step > 0:
            raise UsageError(f"a residual step of {self.step}; it is positive")
        if not self.tolerance >= 0.5:
            raise UsageError(f"a tolerance of {self.tolerance} steps; rounding alone needs 0.5")

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"tile": self.tile, "step": self.step, "tolerance": self.tolerance}
