"""Schedules every loop function that has no kernel of its own, so that nothing runs as TVM leaves it: one scalar loop.

A schedule is tried, lowered to prove that TVM can carry it out, and given up for a simpler one where it cannot. What is
left at worst is the plain loop. Only legal rearrangements are made; a sum over neighbours in memory is taken in as many
parts as a vector has lanes, which changes its rounding and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from edgeml.compiler.general.block_facts import BlockFacts, block_facts
from edgeml.compiler.general.loop_nests import Nest, arrange
from edgeml.compiler.general.row_nests import join_rows

if TYPE_CHECKING:
    import tvm
    from tvm import s_tir

_DONE = "tirx.is_scheduled"


def schedule_remaining(mod: tvm.IRModule, *, lanes: int) -> tvm.IRModule:
    """`mod` with every PrimFunc scheduled that does not carry the attribute `tirx.is_scheduled` yet.

    Args:
        mod: a module of Relax functions and PrimFuncs; symbolic shapes are allowed.
        lanes: float32 values in a vector register of the processor.
    """
    import tvm

    scheduled = tvm.IRModule(dict(mod.functions_items()), attrs=mod.attrs, global_infos=mod.global_infos)
    for name, function in mod.functions_items():
        if isinstance(function, tvm.tirx.PrimFunc) and not (function.attrs and _DONE in function.attrs):
            scheduled[name] = _schedule(function, lanes)
    return scheduled


def _schedule(function: Any, lanes: int) -> Any:
    for attempt in (_by_rows, _by_nests, _simple):
        if (found := _attempt(attempt, function, lanes)) is not None:
            return found
    return function.with_attr(_DONE, True)


def _attempt(attempt: Callable[[s_tir.Schedule, int], None], function: Any, lanes: int) -> Any | None:
    """`function` scheduled by `attempt`; None where TVM refuses a step of it or cannot lower the result."""
    from tvm import s_tir

    sch = s_tir.Schedule(function, error_render_level="none")
    try:
        attempt(sch, lanes)
        result = sch.mod["main"]
        _lower(result)
    except Exception:  # noqa: BLE001  TVM raises errors of many types; every one means: not this schedule
        return None
    return result.with_attr(_DONE, True)


def _lower(function: Any) -> None:
    """Run TVM's lowering up to code generation, which finds what the primitives let pass."""
    import tvm

    target = tvm.target.Target({"kind": "llvm"})
    module = tvm.IRModule({"main": function.with_attr("global_symbol", "main")})
    lowering, _, _ = tvm.tirx.get_tir_pipeline("s_tir")
    with target:
        lowering(tvm.tirx.transform.BindTarget(target.with_host(target))(module))


def _by_rows(sch: s_tir.Schedule, lanes: int) -> None:
    """All nests of a softmax, a normalization or the like inside one parallel loop over its rows."""
    _inline(sch)
    join_rows(sch, _blocks(sch), lanes)


def _by_nests(sch: s_tir.Schedule, lanes: int) -> None:
    """Each nest by what it does, with the reader of a reduction's result moved into it where there is only one."""
    _inline(sch)
    facts = [block_facts(sch, block) for block in _blocks(sch)]
    moved = False
    for index, each in enumerate(facts):
        if moved:
            moved = False
            continue
        following = facts[index + 1] if index + 1 < len(facts) else None
        epilogue = following if following is not None and _is_epilogue(sch, each, following) else None
        moved = arrange(Nest(sch, each, lanes), epilogue)


def _simple(sch: s_tir.Schedule, lanes: int) -> None:
    """Nothing is moved; the leading loop over results runs in parallel, and reductions start outside their loop."""
    for block in _blocks(sch):
        facts = block_facts(sch, block)
        if facts.simple and facts.loops and not facts.is_reduction:
            arrange(Nest(sch, facts, lanes), None)
        elif facts.simple and facts.spatial and facts.spatial[0] == 0:
            sch.parallel(facts.loops[0])


def _blocks(sch: s_tir.Schedule) -> list[Any]:
    return list(sch.get_child_blocks(sch.get_sblock("root")))


def _inline(sch: s_tir.Schedule) -> None:
    """Inline element-by-element producers where no value is computed more often for it."""
    outputs = {sch.get(block).name_hint for block in sch.get_output_blocks(sch.get_sblock("root"))}
    for block in _blocks(sch):
        facts = block_facts(sch, block)
        consumers = sch.get_consumers(block)
        if not facts.simple or facts.is_reduction or len(consumers) != 1 or sch.get(block).name_hint in outputs:
            continue
        consumer = block_facts(sch, consumers[0])
        often = _reads_more_often(sch, facts, consumer)
        if not often or (facts.work <= 2 and not consumer.is_reduction):
            with suppress(Exception):  # a primitive that refuses leaves the schedule as it was
                sch.compute_inline(block)


def _reads_more_often(sch: s_tir.Schedule, producer: BlockFacts, consumer: BlockFacts) -> bool:
    from tvm import sym

    counts = []
    for facts in (consumer, producer):
        total: Any = 1
        for loop in facts.loops:
            total = total * sch.get(loop).extent
        counts.append(total)
    return not sym.Analyzer().can_prove(counts[0] <= counts[1])


def _is_epilogue(sch: s_tir.Schedule, producer: BlockFacts, consumer: BlockFacts) -> bool:
    readers = sch.get_consumers(producer.block)
    names = [sch.get(reader).name_hint for reader in readers]
    return producer.is_reduction and not consumer.is_reduction and names == [sch.get(consumer.block).name_hint]
