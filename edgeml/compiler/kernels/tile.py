"""How many pixels and vectors of channels a kernel keeps in registers at once."""

from __future__ import annotations

from dataclasses import dataclass

from edgeml.compiler.isa import VectorISA

# A processor starts two multiply-adds and two loads a cycle (small ARM cores one load); each multiply-add takes four
# cycles, and one more keeps the wheels turning.
_PER_CYCLE = 2
_LATENCY = 5
_TILE_OVERHEAD = 3.0
_LOOP_OVERHEAD = 0.3
_MOST_ROWS = 28
_MOST_VECTORS = 8
_MOST_SUMS_WITH_SLOW_EPILOGUE = 18
_SHORT_DEPTH = 96
_MOST_UNROLLED = 116


@dataclass(frozen=True)
class Tile:
    """A block of sums held in registers.

    Attributes:
        rows: pixels.
        vectors: vectors of output channels.
        total_vectors: vectors of output channels there are.
    """

    rows: int
    vectors: int
    total_vectors: int

    @property
    def blocks(self) -> int:
        """Blocks of output channels; the last may overlap the one before it."""
        return -(-self.total_vectors // self.vectors)

    def start(self, block: int) -> int:
        """First vector of a block."""
        return min(block * self.vectors, self.total_vectors - self.vectors)


def choose_tile(isa: VectorISA, rows: int, vectors: int, *, depth: int, slow_epilogue: bool, unrolled: int = 1) -> Tile:
    """The tile that takes the fewest cycles for `rows` pixels and `vectors` vectors of output channels.

    By count of multiply-adds, loads and latency; the tile's sums, one row of weights and the operands of the
    multiplication must fit the registers.

    Args:
        isa: the vector unit.
        rows: pixels.
        vectors: vectors of output channels.
        depth: products in each sum.
        slow_epilogue: whether each sum goes through a division. Where the sums are short, tiles are then kept
            small, so that a processor can begin the next one's sums while it waits for the last one's divisions.
        unrolled: products of each sum that are written out in the innermost loop, which must not grow too long.
    """
    most_sums = max(_MOST_UNROLLED // unrolled, _LATENCY * _PER_CYCLE)
    if slow_epilogue and depth <= _SHORT_DEPTH:
        most_sums = min(most_sums, _MOST_SUMS_WITH_SLOW_EPILOGUE)
    best: tuple[float, Tile] | None = None
    for width in range(1, min(vectors, _MOST_VECTORS) + 1):
        for height in range(1, min(rows, _MOST_ROWS) + 1):
            operands = 1 if isa.broadcast_operand else height + isa.explicit_fma
            if height * width + width + operands > isa.registers - 1 or height * width > most_sums:
                continue
            sums = height * width
            loads = width + (height if isa.broadcast_operand else height / isa.lanes)
            loads_per_cycle = _PER_CYCLE if isa.broadcast_operand else 1
            cycles = max(sums / _PER_CYCLE, loads / loads_per_cycle, _LATENCY) + _LOOP_OVERHEAD
            tiles = -(-rows // height) * -(-vectors // width)
            cost = tiles * (cycles + _TILE_OVERHEAD / 8)
            if best is None or cost < best[0]:
                best = cost, Tile(height, width, vectors)
    assert best is not None, "one pixel and one vector fit any register file"
    return best[1]
