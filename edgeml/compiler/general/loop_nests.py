"""How one loop nest of a general function is arranged: what runs in parallel, what in vectors, what in registers.

Nothing here knows an operator. The nests that matter most have kernels of their own; these are for the rest, where LLVM
turns a plain innermost loop along memory into vectors by itself, so that vectors are asked for only where they divide.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeml.compiler.general.block_facts import BlockFacts, block_facts

if TYPE_CHECKING:
    from tvm import s_tir

PARALLEL_WORK = 1 << 15  # operations below which waking other threads costs more than it saves
_UNROLLED = 9  # passes of a reduction, such as a window of 3 x 3, that are written out
_ACCUMULATORS = 12  # vectors held at once, which leaves registers of a file of 16 for the operands


@dataclass(frozen=True)
class Nest:
    """A nest in its schedule.

    Attributes:
        sch: the schedule of the whole function.
        facts: the nest's block.
        lanes: float32 values in a vector register.
    """

    sch: s_tir.Schedule
    facts: BlockFacts
    lanes: int


def arrange(nest: Nest, epilogue: BlockFacts | None) -> bool:
    """Arrange a nest whose loops lie directly below the function; returns whether `epilogue` was moved into it.

    Args:
        nest: the nest.
        epilogue: the only reader of the nest's result, where there is one and it computes element by element.
    """
    facts = nest.facts
    if not facts.simple:
        return False
    if not facts.is_reduction:
        _elementwise(nest)
        return False
    if facts.outputs > 1:
        _plain_reduction(nest)
        return False
    last = facts.spatial[-1] if facts.spatial else None
    if last is not None and facts.strides[last] is not None and facts.extents[last] is not None:
        return _register_tile(nest, last, epilogue)
    if (lanes := lane_axis(nest)) is not None:
        _lane_reduction(nest, lanes)
    else:
        _plain_reduction(nest)
    return False


def vector_length(extent: int, lanes: int) -> int:
    """The largest divisor of `extent` that fits a vector register."""
    return max(length for length in range(1, lanes + 1) if extent % length == 0)


def _elementwise(nest: Nest) -> None:
    sch, facts = nest.sch, nest.facts
    if not facts.loops:
        return
    *outer, inner = facts.loops
    extent = facts.extents[-1]
    if not outer:
        if extent is None or extent * facts.work > PARALLEL_WORK:
            chunk, inner = sch.split(inner, [None, nest.lanes * 64])
            sch.parallel(chunk)
        return
    # Calls into the mathematical library are not vectors; splitting them into lanes only costs.
    if extent is not None and extent % nest.lanes == 0 and not facts.calls:
        _, vector = sch.split(inner, [None, nest.lanes])
        sch.vectorize(vector)
    _parallel(nest, outer)


def _parallel(nest: Nest, loops: list[Any]) -> None:
    """Spread `loops`, the outermost of the nest, over the threads where the nest is worth it."""
    total = nest.facts.iterations
    if loops and (total is None or total * nest.facts.work > PARALLEL_WORK):
        nest.sch.parallel(nest.sch.fuse(*loops) if len(loops) > 1 else loops[0])


def _plain_reduction(nest: Nest) -> None:
    """Spatial loops outside in parallel, but for one along memory, which stays innermost for LLVM to vectorize."""
    sch, facts = nest.sch, nest.facts
    spatial = [facts.loops[index] for index in facts.spatial]
    reduced = [facts.loops[axis] for axis in facts.reduced_over]
    inner = [spatial[-1]] if len(spatial) > 1 and facts.strides[facts.spatial[-1]] == 1 else []
    outer = spatial[:-1] if inner else spatial
    sch.reorder(*outer, *reduced, *inner)
    _parallel(nest, outer)
    sch.decompose_reduction(facts.block, reduced[0])


def lane_axis(nest: Nest) -> int | None:
    """The last axis, where it is reduced, runs along memory and holds a known number of vectors."""
    facts = nest.facts
    index = len(facts.loops) - 1
    extent = facts.extents[index]
    if not facts.reduced[index] or facts.strides[index] != 1 or extent is None:
        return None
    length = vector_length(extent, nest.lanes)
    return index if length >= 4 and extent > length else None


def split_lanes(nest: Nest, index: int) -> Any:
    """Take loop `index` of a reduction apart into one partial result a lane; returns the block that makes them.

    The nest must still lie directly below the function. The block that stays reduces over the lanes.
    """
    extent = nest.facts.extents[index]
    assert extent is not None
    _, lane = nest.sch.split(nest.facts.loops[index], [None, vector_length(extent, nest.lanes)])
    return nest.sch.rfactor(lane, factor_axis=len(nest.sch.get(nest.facts.block).writes[0].region))


def arrange_lanes(sch: s_tir.Schedule, partial: Any, *, below: int) -> tuple[Any, Any]:
    """Make the lanes of `partial` a vector, innermost; returns it with the loop before which it has to be started.

    Args:
        sch: the schedule.
        partial: what `split_lanes` returned, moved to where it is read.
        below: how many loops it shares with its reader.
    """
    facts = block_facts(sch, partial, below=below)
    vector = facts.loops[facts.spatial[-1]]
    sums = [facts.loops[index] for index in facts.reduced_over]
    sch.reorder(*sums, vector)
    sch.vectorize(vector)
    return partial, sums[0]


def _lane_reduction(nest: Nest, index: int) -> None:
    sch, block, depth = nest.sch, nest.facts.block, len(nest.facts.spatial)
    partial = split_lanes(nest, index)
    outer = list(sch.get_loops(block)[:depth])
    if outer:
        sch.compute_at(partial, outer[-1])
        sch.set_scope(partial, 0, "local")
    pending = [arrange_lanes(sch, partial, below=depth), (block, sch.get_loops(block)[-1])]
    _parallel(nest, outer)
    start_reductions(sch, pending)


def start_reductions(sch: s_tir.Schedule, pending: list[tuple[Any, Any]]) -> None:
    """Set each block's result to its start value before the given loop, instead of asking in every pass.

    This comes last: TVM makes no loop parallel around a reduction that has been taken apart so.
    """
    for block, loop in pending:
        sch.decompose_reduction(block, loop)


def _register_tile(nest: Nest, last: int, epilogue: BlockFacts | None) -> bool:
    """Keep a tile of results in registers through the whole reduction; the tile is vectors along the last axis.

    A second axis joins the tile where some tensor is read without it: what was loaded for one serves the others.
    """
    sch, facts = nest.sch, nest.facts
    extent = facts.extents[last]
    assert extent is not None
    length = vector_length(extent, nest.lanes)
    if length * 2 < min(nest.lanes, extent):
        _plain_reduction(nest)
        return False
    across = _tile_axis(facts, last)
    rows = 1 if across is None else vector_length(facts.extents[across] or 1, 6)
    vectors = vector_length(extent // length, max(1, min(4, _ACCUMULATORS // rows)))
    outer_last, unrolled, vector = sch.split(facts.loops[last], [None, vectors, length])
    spatial = [facts.loops[index] for index in facts.spatial if index not in (last, across)]
    reduced = [facts.loops[index] for index in facts.reduced_over]
    tile = [unrolled, vector]
    if across is not None:
        outer_across, inner_across = sch.split(facts.loops[across], [None, rows])
        spatial.append(outer_across)
        tile.insert(0, inner_across)
    spatial.append(outer_last)
    sch.reorder(*spatial, *reduced, *tile)
    moved = epilogue is not None and epilogue.simple and epilogue.extents == _spatial_extents(facts)
    if moved:
        assert epilogue is not None
        sch.reverse_compute_at(epilogue.block, spatial[-1])
        sch.set_scope(facts.block, 0, "local")
        store = epilogue.block
    else:
        store = sch.cache_write(facts.block, 0, "local")
        sch.reverse_compute_at(store, spatial[-1])
    few = all(facts.extents[index] is not None for index in facts.reduced_over)
    few = few and math.prod(facts.extents[index] or 1 for index in facts.reduced_over) <= _UNROLLED
    for loop in [*(reduced if few else []), *tile[:-1]]:
        sch.unroll(loop)
    sch.vectorize(vector)
    _vector_store(nest, store, len(spatial), length)
    _parallel(nest, spatial)
    sch.decompose_reduction(facts.block, reduced[0])
    return moved


def _vector_store(nest: Nest, store: Any, depth: int, length: int) -> None:
    sch = nest.sch
    loops = sch.get_loops(store)[depth:]
    if not loops:
        return
    inner = loops[-1]
    if int(sch.get(inner).extent) > length:
        unrolled, inner = sch.split(inner, [None, length])
        sch.unroll(unrolled)
    sch.vectorize(inner)
    for loop in loops[:-1]:
        sch.unroll(loop)


def _tile_axis(facts: BlockFacts, last: int) -> int | None:
    """The innermost spatial axis of known length, other than `last`, that some tensor is read without."""
    for index in reversed(facts.spatial):
        if index != last and facts.broadcast[index] and (facts.extents[index] or 1) > 1:
            return index
    return None


def _spatial_extents(facts: BlockFacts) -> tuple[int | None, ...]:
    return tuple(facts.extents[index] for index in facts.spatial)
