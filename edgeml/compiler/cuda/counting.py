"""The GPU schedule of loops that count differing bits: one thread a result, which keeps its count in a register."""

from __future__ import annotations

from typing import Any

from edgeml.compiler.binary_operator import COUNTS

_THREADS = 256


def counting_rule() -> Any:
    """A rule for dlight that takes functions with such loops and declines all others.

    Neighbouring threads have neighbouring pixels of one output channel: they read neighbouring words of signs and the
    same word of weights. dlight's own rules would spread each short sum over a whole block of threads.
    """
    from tvm import s_tir
    from tvm.s_tir.dlight.base import ScheduleRule

    class Counting(ScheduleRule):  # type: ignore[misc]
        def apply(self, func: Any, target: Any, tunable: bool) -> Any:  # noqa: ARG002
            sch = s_tir.Schedule(func)
            blocks = sch.get_child_blocks(sch.get_sblock("root"))
            names = [sch.get(block).name_hint for block in blocks]
            if COUNTS not in names:
                return None
            *others, last = blocks
            for block, name in zip(others, names, strict=False):
                if name != COUNTS:
                    sch.compute_inline(block)
            outer, thread = sch.split(sch.fuse(*sch.get_loops(last)), [None, _THREADS])
            sch.bind(outer, "blockIdx.x")
            sch.bind(thread, "threadIdx.x")
            counts = sch.get_sblock(COUNTS)
            sch.compute_at(counts, thread)
            sch.set_scope(counts, 0, "local")
            return sch

    return Counting()
