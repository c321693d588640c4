"""What the general schedule must know of one loop nest: its axes, which of them run along memory, what it costs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tvm import s_tir

_SPATIAL, _REDUCTION = 0, 2  # tvm.tirx.IterVar.DataPar and CommReduce
_SELECTIONS = frozenset({"tirx.if_then_else", "tirx.likely"})
_CALL_WORK = 16  # exp, pow and their like against an addition


@dataclass(frozen=True)
class BlockFacts:
    """One block of a PrimFunc and its own loops, outermost first.

    Attributes:
        block: the block's handle in its Schedule.
        loops: handles of its loops.
        extents: a loop's length each; None where it is known at run time only.
        reduced: whether a loop is summed (or otherwise reduced) over.
        simple: each loop is one axis of the block and nothing else shares the nest, which is what can be moved.
        strides: per loop, how far apart its neighbours are in the innermost index of a tensor read (the smallest
            of several; 1 is side by side in memory); None where it is no part of an innermost index alone.
        broadcast: per loop, whether some tensor is read without it.
        outputs: how many tensors it writes.
        work: operations of one pass through its body, roughly.
        calls: the body calls functions: exp, pow and their like.
    """

    block: Any
    loops: tuple[Any, ...]
    extents: tuple[int | None, ...]
    reduced: tuple[bool, ...]
    simple: bool
    strides: tuple[int | None, ...]
    broadcast: tuple[bool, ...]
    outputs: int
    work: int
    calls: bool

    @property
    def is_reduction(self) -> bool:
        """Whether any loop is reduced over."""
        return any(self.reduced)

    @property
    def spatial(self) -> tuple[int, ...]:
        """Indices of the loops that are not reduced over."""
        return tuple(index for index, reduced in enumerate(self.reduced) if not reduced)

    @property
    def reduced_over(self) -> tuple[int, ...]:
        """Indices of the loops that are."""
        return tuple(index for index, reduced in enumerate(self.reduced) if reduced)

    @property
    def iterations(self) -> int | None:
        """Passes through the body; None where an extent is not known."""
        total = 1
        for extent in self.extents:
            if extent is None:
                return None
            total *= extent
        return total


def block_facts(sch: s_tir.Schedule, block: Any, *, below: int = 0) -> BlockFacts:
    """The facts of `block`.

    Args:
        sch: the schedule it is in.
        block: its handle.
        below: how many of its outermost loops it shares with others and are left out.
    """
    body = sch.get(block)
    loops = tuple(sch.get_loops(block))[below:]
    axes = _axes_of(sch, body, loops)
    simple = axes is not None
    if axes is None:
        axes = list(body.iter_vars)[: len(loops)]
    loads, work, calls = _body(body)
    reads = [load for load in loads if not any(load.source.same_as(write.source) for write in body.writes)]
    return BlockFacts(
        block=block,
        loops=loops,
        extents=tuple(_known(sch.get(loop).extent) for loop in loops),
        reduced=tuple(axis.iter_type == _REDUCTION for axis in axes),
        simple=simple,
        strides=tuple(_smallest(_stride(load, axis.var) for load in reads) for axis in axes),
        broadcast=tuple(any(not _uses(load, axis.var) for load in reads) for axis in axes),
        outputs=len(body.writes),
        work=work,
        calls=calls,
    )


def _axes_of(sch: s_tir.Schedule, body: Any, loops: tuple[Any, ...]) -> list[Any] | None:
    """The block axis that each loop runs over; None where loops and axes do not correspond one to one."""
    from tvm.s_tir import SBlockRealize

    if any(axis.iter_type not in {_SPATIAL, _REDUCTION} for axis in body.iter_vars):
        return None
    if not loops:
        return []
    realize = sch.get(loops[-1]).body
    if not isinstance(realize, SBlockRealize):
        return None
    found = []
    for loop in loops:
        variable = sch.get(loop).loop_var
        bound = [axis for axis, value in zip(body.iter_vars, realize.iter_values, strict=True) if _in(value, variable)]
        exact = [value for value in realize.iter_values if value.same_as(variable)]
        if len(bound) != 1 or len(exact) != 1:
            return None
        found.append(bound[0])
    return found


def _smallest(strides: Iterable[int | None]) -> int | None:
    return min((stride for stride in strides if stride is not None), default=None)


def _known(extent: Any) -> int | None:
    import tvm

    return int(extent) if isinstance(extent, tvm.tirx.IntImm) else None


def _body(block: Any) -> tuple[list[Any], int, bool]:
    """The loads of a block's body, its number of operations on values, and whether calls are among them."""
    import tvm
    import tvm_ffi

    loads: list[Any] = []
    work = 0

    def visit(node: Any) -> None:
        nonlocal work
        if isinstance(node, tvm.ir.TensorLoad):
            loads.append(node)
        elif isinstance(node, tvm.ir.Call):
            if node.op.name not in _SELECTIONS:
                work += _CALL_WORK
        elif isinstance(node, (tvm.tirx.expr.BinaryOpExpr, tvm.tirx.Cast)) and str(node.ty).startswith("float"):
            work += 1

    tvm_ffi.structural_walk(block.body, (tvm.ir.Expr, visit), order="post")
    return loads, max(work, 1), work >= _CALL_WORK


def _stride(load: Any, axis: Any) -> int | None:
    """How far apart in memory neighbours along `axis` are, where it is part of the innermost index only."""
    import tvm

    if not load.indices or any(_in(index, axis) for index in load.indices[:-1]) or not _in(load.indices[-1], axis):
        return None
    linear = tvm.sym.detect_linear_equation(load.indices[-1], [axis])
    return int(linear[0]) if linear and isinstance(linear[0], tvm.tirx.IntImm) and int(linear[0]) > 0 else None


def _uses(load: Any, axis: Any) -> bool:
    return any(_in(index, axis) for index in load.indices)


def _in(index: Any, axis: Any) -> bool:
    import tvm
    import tvm_ffi

    found = False

    def visit(node: Any) -> None:
        nonlocal found
        found = found or node.same_as(axis)

    tvm_ffi.structural_walk(index, (tvm.ir.Var, visit), order="post")
    return found
