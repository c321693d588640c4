"""Runs a sweep: makes the files several at once, measures one run at a time on a device, keeps what was found."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path

from edgeml.core.bench_result import BenchResult
from edgeml.core.errors import EdgeMLError, UsageError
from edgeml.edge_bench.results import from_json, to_json
from edgeml.edge_bench.store.store import Store
from edgeml.sweep.cache import LOG_FILE, TaskCache
from edgeml.sweep.child import EDGEML, Finished
from edgeml.sweep.engine import Engine, LocalEngine
from edgeml.sweep.outcome import CellOutcome, State, SweepOutcome, TaskOutcome
from edgeml.sweep.plan import RESULT_FILE, Cell, Group, Plan, measurement
from edgeml.sweep.task import Given, Task, task_key

Tell = Callable[[TaskOutcome, int, int], None]
"""Told of each task that ended, with how many have ended and how many there are."""


def run_sweep(
    plan: Plan,
    engine: Engine,
    cache: TaskCache,
    store: Store | None,
    *,
    again: bool = False,
    tell: Tell | None = None,
    module: str = EDGEML,
) -> SweepOutcome:
    """Make and measure everything in the plan that the cache does not have.

    A task that fails takes only those with it that need it. A group of cells whose measurement fails is measured once
    more, each model file alone, so that the one to blame does not cost the others theirs. What this machine measures
    itself is measured last, with nothing else running.

    Args:
        plan: the work.
        engine: runs what makes files; measurements are always processes of this machine.
        cache: finds finished tasks again.
        store: gets every run; None to keep none.
        again: measure anew what was measured before; files are made only once all the same.
        tell: told of each task that ended.
        module: the Python module that is the command line.

    Raises:
        UsageError: a file that the sweep names does not exist.
        EdgeMLError: the store cannot be written.
    """
    with ExitStack() as stack:
        measuring = LocalEngine(
            cache, plan.sweep.directory, jobs=len(plan.sweep.devices), module=module, shares_cores=False
        )
        # Entered last, so that at an interrupt measurements end first; both wait for their children.
        stack.enter_context(closing(engine))
        stack.enter_context(closing(measuring))
        return _Run(plan, engine, measuring, cache, store, again, tell or (lambda *_: None)).run()


def task_keys(plan: Plan) -> dict[str, str]:
    """The key of every task that makes a file, by label.

    Raises:
        UsageError: a file that the sweep names does not exist.
    """
    keys: dict[str, str] = {}
    for task in plan.tasks:
        keys[task.label] = task_key(task, plan.sweep.directory, keys)
    return keys


@dataclass(frozen=True)
class _Measurement:
    group: Group
    task: Task
    key: str


class _Run:
    """The state of one sweep while it runs."""

    def __init__(
        self,
        plan: Plan,
        engine: Engine,
        measuring: LocalEngine,
        cache: TaskCache,
        store: Store | None,
        again: bool,
        tell: Tell,
    ) -> None:
        self._plan, self._engine, self._measuring = plan, engine, measuring
        self._cache, self._store, self._again, self._tell = cache, store, again, tell
        self._keys = task_keys(plan)
        self._waiting = list(plan.tasks)
        self._groups = list(plan.groups)
        self._building: dict[Future[Finished], Task] = {}
        self._measured_on: dict[Future[Finished], _Measurement] = {}
        self._outcomes: dict[str, TaskOutcome] = {}
        self._cells: dict[Cell, CellOutcome] = {}

    def run(self) -> SweepOutcome:
        """Work until nothing is left."""
        while self._start() or self._building or self._measured_on:
            running = [*self._building, *self._measured_on]
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                self._end(future)
        return SweepOutcome(
            name=self._plan.sweep.name,
            cells=tuple(self._cells[cell] for cell in self._plan.cells),
            tasks=tuple(self._outcomes.values()),
            store=None if self._store is None else str(self._store.path),
            cache=str(self._cache.root),
        )

    def _start(self) -> bool:
        """Start whatever can be started; whether anything was started or settled."""
        began = len(self._outcomes), len(self._building), len(self._groups)
        for task in list(self._waiting):
            self._start_build(task)
        if not self._waiting and not self._building:
            self._engine.close()  # a cluster's own processes would be beside a measurement here
        for group in list(self._groups):
            self._start_group(group)
        return began != (len(self._outcomes), len(self._building), len(self._groups))

    def _start_build(self, task: Task) -> None:
        needed = [self._outcomes.get(label) for label in task.needs]
        failed = next((each for each in needed if each is not None and each.state in {"failed", "not run"}), None)
        if failed is not None:
            self._waiting.remove(task)
            self._told(task, "not run", reason=f"{failed.label} failed")
        elif None not in needed and len(self._building) < self._engine.slots:
            self._waiting.remove(task)
            key = self._keys[task.label]
            if self._cache.has(key):
                self._told(task, "cached")
            else:
                self._building[self._engine.submit(task, key, self._keys)] = task

    def _start_group(self, group: Group) -> None:
        if any(each.group.device.address == group.device.address for each in self._measured_on.values()):
            return
        unsettled = self._waiting or self._building
        # Cores that build or serve another measurement would be missing here.
        if group.device.is_here and (unsettled or self._measured_on):
            return
        labels = {cell.artifact.task for cell in group.cells if not isinstance(cell.artifact, Given)}
        if any(label not in self._outcomes for label in labels):
            return
        # The other way round as well: nothing is started beside a measurement of this machine.
        if any(each.group.device.is_here for each in self._measured_on.values()):
            return
        self._groups.remove(group)
        cells = tuple(cell for cell in group.cells if self._is_made(cell))
        if cells:
            self._measure(replace(group, cells=cells))

    def _is_made(self, cell: Cell) -> bool:
        if isinstance(cell.artifact, Given):
            return True
        outcome = self._outcomes[cell.artifact.task]
        if outcome.state in {"done", "cached"}:
            return True
        self._cells[cell] = _cell(cell, None, "not run", reason=_why(outcome))
        return False

    def _measure(self, group: Group) -> None:
        task = measurement(self._plan.sweep, group)
        key = task_key(task, self._plan.sweep.directory, self._keys)
        found = _Measurement(group, task, key)
        if self._again:
            self._cache.forget(key)
        if self._cache.has(key):
            self._keep(found, Finished(seconds=0.0, cached=True))
        else:
            self._measured_on[self._measuring.submit(task, key, self._keys)] = found

    def _end(self, future: Future[Finished]) -> None:
        finished = future.result()
        if future in self._building:
            task = self._building.pop(future)
            state: State = "failed" if finished.reason else "cached" if finished.cached else "done"
            self._told(task, state, finished.seconds, finished.reason, self._log(self._keys[task.label]))
        else:
            self._keep(self._measured_on.pop(future), finished)

    def _keep(self, found: _Measurement, finished: Finished) -> None:
        """Store the runs of a measurement that ended, and settle its cells."""
        runs: tuple[BenchResult, ...] = ()
        if finished.reason is None:
            try:
                runs = _read(self._cache.entry(found.key) / RESULT_FILE)
            except UsageError as error:
                self._cache.forget(found.key)
                finished = Finished(seconds=finished.seconds, reason=str(error))
        parts = found.group.split()
        if finished.reason is not None:
            self._told(found.task, "failed", finished.seconds, finished.reason, self._log(found.key))
            if len(parts) > 1:
                self._groups += parts
                return
            for cell in found.group.cells:
                self._cells[cell] = _cell(cell, self._path(cell), "failed", reason=finished.reason)
            return
        state: State = "cached" if finished.cached else "done"
        for result in runs:
            run = None if self._store is None else self._store.append(result)
            for cell in found.group.cells:
                self._cells.setdefault(cell, _cell(cell, self._path(cell), state, run=run))
            self._cells |= self._figures(found, result, self._cells)
        self._told(found.task, state, finished.seconds)

    def _figures(
        self, found: _Measurement, result: BenchResult, cells: Mapping[Cell, CellOutcome]
    ) -> dict[Cell, CellOutcome]:
        """The cells of a run with their figures."""
        settled = {}
        for value in to_json(result, raw=False)["contenders"]:
            for cell in found.group.cells:
                if self._path(cell) != value["artifact"] or cell.threads not in {None, value["threads"]}:
                    continue
                latency, accuracy = value["latency_ms"], value["accuracy"]
                settled[cell] = replace(
                    cells[cell],
                    median_ms=None if latency is None else latency["median"],
                    ci95_ms=None if latency is None else (latency["ci95"][0], latency["ci95"][1]),
                    accuracy=None if accuracy is None else accuracy["value"],
                )
        return settled

    def _path(self, cell: Cell) -> str:
        if isinstance(cell.artifact, Given):
            return str(Path(cell.artifact.path))
        return str(self._cache.entry(self._keys[cell.artifact.task]) / cell.artifact.file)

    def _log(self, key: str) -> str | None:
        for directory in (self._cache.part(key), self._cache.entry(key)):
            if (directory / LOG_FILE).is_file():
                return str(directory / LOG_FILE)
        return None

    def _told(
        self, task: Task, state: State, seconds: float = 0.0, reason: str | None = None, log: str | None = None
    ) -> None:
        outcome = TaskOutcome(label=task.label, kind=task.kind, state=state, seconds=seconds, reason=reason, log=log)
        self._outcomes[task.label] = outcome
        left = len(self._waiting) + len(self._building) + len(self._groups) + len(self._measured_on)
        self._tell(outcome, len(self._outcomes), len(self._outcomes) + left)


def _cell(
    cell: Cell, artifact: str | None, state: State, *, run: int | None = None, reason: str | None = None
) -> CellOutcome:
    return CellOutcome(
        model=cell.model,
        precision=cell.precision,
        runtime=cell.runtime,
        threads=cell.threads,
        device=cell.device,
        artifact=artifact,
        state=state,
        run=run,
        reason=reason,
    )


def _why(outcome: TaskOutcome) -> str:
    return outcome.reason or "" if outcome.state == "not run" else f"{outcome.label} failed: {outcome.reason}"


def _read(path: Path) -> tuple[BenchResult, ...]:
    """The runs in a file that `edgeml bench --output` wrote."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"cannot read benchmark results from {path}: {error}") from error
    try:
        several = value.get("runs") if isinstance(value, dict) else None
        return tuple(from_json(each) for each in several) if isinstance(several, list) else (from_json(value),)
    except EdgeMLError as error:
        raise UsageError(f"{path}: {error}") from error
