"""Makes a model's slowest functions faster by trying many schedules for each of them on this machine."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from edgeml.compiler.isa import isa_of
from edgeml.compiler.tuning.measure import Bench, Contest
from edgeml.compiler.tuning.plan import share_trials
from edgeml.compiler.tuning.records import TuningRecord, TuningRecords
from edgeml.compiler.tuning.search import Search, check_packages
from edgeml.compiler.tuning.tasks import NAME, SCHEDULED, TuningTask, tuning_tasks
from edgeml.compiler.tvm_target import tvm_target
from edgeml.core.errors import MissingError, UsageError
from edgeml.core.target import Target

if TYPE_CHECKING:
    import tvm

Progress = Callable[[int, int, str], None]
"""Told after each function: how many of all trials are done, how many there are, and one line on the function."""


class Searching(Protocol):
    """What finds schedules: `Search`."""

    def best(self, function: Any, trials: int) -> Any | None:
        """The fastest schedule found for `function`; None where none could be run."""

    def close(self) -> None:
        """End its processes."""


class Measuring(Protocol):
    """What measures functions: `Bench`."""

    def seconds(self, function: Any) -> float | None:
        """Time of one call; None where it cannot be run."""

    def contest(self, first: Any, second: Any) -> Contest | None:
        """The two measured in turn; None where one of them cannot be run."""

    def close(self) -> None:
        """End its processes."""


@dataclass(frozen=True, kw_only=True)
class TunedFunction:
    """What tuning did with one function.

    Attributes:
        name: the function's name in the module.
        kept: the version that the module has now.
        trials: schedules tried, in this run or an earlier one.
        ratio: time of the best schedule found over that of the untuned function; None where none was found.
        ci95: 95% interval of `ratio`.
    """

    name: str
    kept: Literal["tuned", "untuned"]
    trials: int
    ratio: float | None
    ci95: tuple[float, float] | None


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """A module after tuning.

    Attributes:
        module: with the tuned functions in place of those they beat; all others are as they were.
        functions: what was tried, slowest first.
        symbolic: names of the functions that were left alone because their shapes are not fixed.
    """

    module: tvm.IRModule
    functions: tuple[TunedFunction, ...]
    symbolic: tuple[str, ...]


def tune_functions(
    mod: tvm.IRModule,
    target: Target,
    *,
    trials: int,
    work_dir: Path,
    progress: Progress | None = None,
    kernel_alternatives: Mapping[str, Any] | None = None,
    search: Searching | None = None,
    bench: Measuring | None = None,
) -> Tuned:
    """`mod` with its unscheduled functions tuned, one after the other, where that made them faster.

    Trials are dealt out in proportion to the time that all calls of a function take in one run of the model. The best
    schedule found is measured in turn with the untuned function and takes its place only where the 95% interval of
    their ratio lies below 1 and their results agree. After each function what was found is written to `work_dir`; a
    run that was killed goes on from there.

    Args:
        mod: a fused module before it is scheduled; functions with the attribute `tirx.is_scheduled` stay as they are.
        target: the processor of this machine.
        trials: schedules to try, over all functions.
        work_dir: where records are kept, apart for each processor and version of edgeml and TVM.
        progress: told after each function.
        kernel_alternatives: schedulable functions by the name of the scheduled function that each may replace; their
            parameters must be the same.
        search: what finds schedules.
        bench: what measures.

    Raises:
        UsageError: `trials` is not positive.
        MissingError: a package of the extra `tune` is not installed, or the target is not this machine.
    """
    if trials < 1:
        raise UsageError(f"{trials} trials are asked for; allowed: 1 and more")
    check_tunable(target)
    records = TuningRecords(work_dir / _conditions())
    compiled_for = tvm_target(target)
    search = search or Search(compiled_for, workers=_cores())
    try:
        bench = bench or Bench(compiled_for)
        try:
            return _tune(mod, target, trials, records, progress, kernel_alternatives or {}, search, bench)
        finally:
            bench.close()
    finally:
        search.close()


def check_tunable(target: Target) -> None:
    """Refuse what cannot be tuned here.

    Raises:
        MissingError: a package of the extra `tune` is not installed, or the target is not this machine.
    """
    check_packages()
    from tvm.target import codegen

    here = (platform.machine(), codegen.llvm_get_system_cpu())
    machine = target.triple.split("-")[0] or here[0]
    if target.kind != "llvm" or machine != here[0] or target.cpu not in ("", here[1]):
        raise MissingError(
            f"tuning for {target} needs that processor, because it measures; this machine is {' '.join(here)}: "
            "run `edgeml compile --target host --tune N` on the device itself, or compile without --tune"
        )


def _conditions() -> str:
    """Digest of what the records of one model and target hold for: this processor, these threads and versions."""
    from tvm.target import codegen

    words = [platform.machine(), codegen.llvm_get_system_cpu(), os.environ.get("TVM_NUM_THREADS", "")]
    words += [importlib.metadata.version(package) for package in ("edgeml", "apache-tvm")]
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:16]


def _cores() -> int:
    """Cores this process may use: a build on one that it may not use only waits."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _tune(
    mod: tvm.IRModule,
    target: Target,
    trials: int,
    records: TuningRecords,
    progress: Progress | None,
    alternatives: Mapping[str, Any],
    search: Searching,
    bench: Measuring,
) -> Tuned:
    import tvm

    tasks, symbolic = tuning_tasks(mod, alternatives, lanes=isa_of(target).lanes)
    seconds = _times(tasks, records, bench)
    shares = share_trials(trials, {task.key: seconds[task.key] * task.calls for task in tasks if task.key in seconds})
    chosen = sorted((task for task in tasks if shares.get(task.key)), key=lambda task: (-shares[task.key], task.key))
    result = tvm.IRModule(dict(mod.functions_items()), mod.attrs, mod.global_infos)
    functions, done = [], 0
    if progress and symbolic:
        names = ", ".join(symbolic)
        progress(0, trials, f"left untuned because their shapes are not fixed (`--static-batch` fixes them): {names}")
    if progress and not chosen:
        progress(trials, trials, "nothing to tune: kernels compute every function of fixed shape")
    for task in chosen:
        share = shares[task.key]
        record = records.load(task.key)
        if record is None or record.trials < share:
            record = _tune_one(task, share, search, bench)
            records.save(task.key, record)
        done += share
        for name in task.names:
            if record.tuned is not None:
                result[name] = _in_place_of(mod[name], tvm.ir.load_json(record.tuned))
            functions.append(_outcome(name, record))
        if progress:
            progress(done, trials, _line(functions[-1]))
    return Tuned(module=result, functions=tuple(functions), symbolic=symbolic)


def _times(tasks: tuple[TuningTask, ...], records: TuningRecords, bench: Measuring) -> dict[str, float]:
    """Seconds that one call of each untuned function takes, measured or as an earlier run measured them."""
    seconds = records.load_times()
    missing = [task for task in tasks if task.key not in seconds]
    for task in missing:
        measured = bench.seconds(task.untuned)
        if measured is not None:
            seconds[task.key] = measured
    if missing:
        records.save_times(seconds)
    return seconds


def _tune_one(task: TuningTask, trials: int, search: Searching, bench: Measuring) -> TuningRecord:
    import tvm

    best = search.best(task.schedulable, trials)
    contest = None if best is None else bench.contest(task.untuned, best)
    if contest is None:
        return TuningRecord(trials=trials)
    tuned = tvm.ir.save_json(best) if contest.second_is_better else None
    return TuningRecord(trials=trials, ratio=contest.ratio, ci95=contest.ci95, tuned=tuned)


def _in_place_of(function: Any, tuned: Any) -> Any:
    """`tuned` under the name that `function` has."""
    named = function.attrs is not None and NAME in function.attrs
    tuned = tuned.with_attr(NAME, function.attrs[NAME]) if named else tuned.without_attr(NAME)
    return tuned.with_attr({SCHEDULED: True})


def _outcome(name: str, record: TuningRecord) -> TunedFunction:
    kept: Literal["tuned", "untuned"] = "untuned" if record.tuned is None else "tuned"
    return TunedFunction(name=name, kept=kept, trials=record.trials, ratio=record.ratio, ci95=record.ci95)


def _line(function: TunedFunction) -> str:
    if function.ratio is None or function.ci95 is None:
        return f"{function.name}: no schedule found in {function.trials} trials, stays untuned"
    low, high = function.ci95
    took = f"{function.ratio:.2f} [{low:.2f}, {high:.2f}] of the untuned time"
    return f"{function.name}: {took} after {function.trials} trials, {function.kept} is kept"
