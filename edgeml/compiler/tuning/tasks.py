"""Finds what can be tuned in a module: functions of fixed shape, equal ones together, and how often each is called."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeml.compiler.general.general_schedule import schedule_remaining

if TYPE_CHECKING:
    import tvm

SCHEDULED = "tirx.is_scheduled"
NAME = "global_symbol"


@dataclass(frozen=True)
class TuningTask:
    """One function to tune.

    Attributes:
        key: digest of what it computes.
        names: the functions of the module that are this one.
        untuned: what a tuned version is measured against.
        schedulable: what schedules are searched for.
        calls: how often a run of the model calls it.
    """

    key: str
    names: tuple[str, ...]
    untuned: Any
    schedulable: Any
    calls: int


def tuning_tasks(
    mod: tvm.IRModule, alternatives: Mapping[str, Any], *, lanes: int
) -> tuple[tuple[TuningTask, ...], tuple[str, ...]]:
    """The functions to tune, and the names of those that would be if their shapes were fixed.

    Args:
        mod: a fused module; functions that are scheduled already count only where there is an alternative.
        alternatives: schedulable functions by the name of the scheduled function that each may replace.
        lanes: float32 values in a vector register, for the schedule that an untuned function has.
    """
    import tvm

    scheduled = schedule_remaining(mod, lanes=lanes)
    calls = _calls(mod)
    tasks: dict[str, TuningTask] = {}
    symbolic = []
    for variable, function in mod.functions_items():
        name = variable.name_hint
        if not isinstance(function, tvm.tirx.PrimFunc) or not calls[name]:
            continue
        if function.attrs and SCHEDULED in function.attrs and name not in alternatives:
            continue
        schedulable = alternatives.get(name, function)
        if not _has_fixed_shapes(schedulable):
            symbolic.append(name)
            continue
        key = _key(function, schedulable)
        before = tasks.get(key)
        names = (*before.names, name) if before else (name,)
        count = calls[name] + (before.calls if before else 0)
        tasks[key] = TuningTask(key, names, scheduled[name], schedulable, count)
    return tuple(tasks.values()), tuple(symbolic)


def _calls(mod: tvm.IRModule) -> Counter[str]:
    """How often the model's functions call each function by name."""
    import tvm
    from tvm import relax

    found: Counter[str] = Counter()

    def visit(node: Any) -> None:
        if isinstance(node, relax.Call):
            found.update(each.name_hint for each in (node.op, *node.args) if isinstance(each, tvm.ir.GlobalVar))

    for _, function in mod.functions_items():
        if isinstance(function, relax.Function):
            relax.analysis.post_order_visit(function.body, visit)
    return found


def _has_fixed_shapes(function: Any) -> bool:
    import tvm

    return all(
        isinstance(parameter.ty, tvm.tirx.BufferType)
        and all(isinstance(size, int | tvm.tirx.IntImm) for size in parameter.shape)
        for parameter in function.params
    )


def _key(function: Any, schedulable: Any) -> str:
    """A digest of what the two compute; their names do not count."""
    text = "\n".join(each.with_attr(NAME, "main").script() for each in (function, schedulable))
    return hashlib.sha256(text.encode()).hexdigest()[:24]
