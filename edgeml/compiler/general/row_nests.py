"""Row-wise functions: softmax, layer normalization and their like are computed one row at a time, rows in parallel."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from edgeml.compiler.general.block_facts import BlockFacts, block_facts
from edgeml.compiler.general.loop_nests import Nest, arrange_lanes, lane_axis, split_lanes, start_reductions

if TYPE_CHECKING:
    from tvm import s_tir


class NotRowWiseError(ValueError):
    """The function cannot be computed row by row."""


def join_rows(sch: s_tir.Schedule, blocks: list[Any], lanes: int) -> None:
    """Move all of `blocks` into one parallel loop over rows.

    A function is row-wise where its reductions all run over the trailing axes, of known length, of the nest that comes
    last, and no nest needs more of the others than its own row.

    Raises:
        NotRowWiseError: it is not.
    """
    facts = [block_facts(sch, block) for block in blocks]
    depth = _depth(sch, facts)
    last = facts[-1].block
    partials = {}
    for index, each in enumerate(facts):
        nest = Nest(sch, each, lanes)
        if each.is_reduction and (lane := lane_axis(nest)) is not None:
            partials[index] = split_lanes(nest, lane)
    into = sch.get_loops(last)[depth - 1]
    for index in reversed(range(len(facts))):
        if index != len(facts) - 1:
            sch.compute_at(facts[index].block, into)
        if index in partials:
            sch.compute_at(partials[index], into)
    _refuse_shared_rows(sch, facts, depth, set(partials))
    pending: list[tuple[Any, Any]] = []
    for index, partial in partials.items():
        pending += [
            arrange_lanes(sch, partial, below=depth),
            (facts[index].block, sch.get_loops(facts[index].block)[-1]),
        ]
    rows = sch.get_loops(last)[:depth]
    sch.parallel(sch.fuse(*rows) if depth > 1 else rows[0])
    start_reductions(sch, pending)


def _refuse_shared_rows(sch: s_tir.Schedule, facts: list[BlockFacts], depth: int, split: set[int]) -> None:
    """Raise where a nest that was moved has grown: it then computes values that other rows compute as well."""
    for index, each in enumerate(facts):
        inner = [_known(sch, loop) for loop in sch.get_loops(each.block)[depth:]]
        if index not in split and _longer_than_one(inner) != _longer_than_one(each.extents[depth:]):
            raise NotRowWiseError("a nest needs more than its own row")


def _depth(sch: s_tir.Schedule, facts: list[BlockFacts]) -> int:
    """How many leading axes number the rows."""
    reductions = [each for each in facts if each.is_reduction]
    if len(facts) < 3 or not reductions or facts[-1].is_reduction:
        raise NotRowWiseError("it has too few nests, or no reduction")
    if not all(each.simple and each.outputs == 1 for each in facts) or len(_outputs(sch)) != 1:
        raise NotRowWiseError("a nest is not simple, or there are several results")
    depth = min(_leading(each) for each in reductions)
    rows = [sch.get(loop).extent for loop in facts[-1].loops[:depth]]
    if depth == 0 or any(extent is None for each in facts for extent in each.extents[depth:]):
        raise NotRowWiseError("there are no rows, or they are of unknown length")
    for each in facts:
        found = [sch.get(loop).extent for loop in each.loops[:depth]]
        if len(found) != depth or not all(_equal(one, two) for one, two in zip(found, rows, strict=True)):
            raise NotRowWiseError("nests differ in their rows")
    return depth


def _leading(facts: BlockFacts) -> int:
    """How many axes come before the first reduced one."""
    return facts.reduced.index(True)


def _outputs(sch: s_tir.Schedule) -> list[Any]:
    return list(sch.get_output_blocks(sch.get_sblock("root")))


def _known(sch: s_tir.Schedule, loop: Any) -> int | None:
    import tvm

    extent = sch.get(loop).extent
    return int(extent) if isinstance(extent, tvm.tirx.IntImm) else None


def _longer_than_one(extents: Iterable[int | None]) -> list[int | None]:
    return [extent for extent in extents if extent != 1]


def _equal(one: Any, two: Any) -> bool:
    import tvm_ffi

    return bool(tvm_ffi.structural_equal(one, two))
