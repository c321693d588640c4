"""Measures contenders against each other: every one in its own processes, their samples taken in turn."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial

from edgeml.core.bench_result import Launch, Reading
from edgeml.core.device import Device
from edgeml.core.host import HostInfo
from edgeml.edge_bench.alone import Findings, measure_alone
from edgeml.edge_bench.bench_settings import BenchSettings, Entry, Extras, runs_of_launch
from edgeml.edge_bench.conditions.watch import Watch
from edgeml.edge_bench.devices.connection import Connection
from edgeml.edge_bench.link import Link, local_link
from edgeml.edge_bench.running import BLOCKS, Running

__all__ = ["BLOCKS", "BenchSettings", "Entry", "Extras", "Measurement", "Progress", "measure", "runs_of_launch"]


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What was measured.

    Attributes:
        launches: of each entry, in order; launch i of all entries ran at the same time. Each is empty on a device
            whose times mean nothing.
        batches: the batch each entry was measured at.
        threads: the threads of each entry.
        findings: what was measured of each entry alone.
        host: the machine that the workers ran on, when the run began.
        readings: the device's state after each block; empty where the workers ran elsewhere.
        warnings: what disturbed the run, and what was done once more.
    """

    launches: tuple[tuple[Launch, ...], ...]
    batches: tuple[int, ...]
    threads: tuple[int, ...]
    findings: tuple[Findings, ...]
    host: HostInfo
    readings: tuple[Reading, ...]
    warnings: tuple[str, ...]


Progress = Callable[[str, float], None]
"""Told what is being done and which share of the run is done."""

Check = Callable[[HostInfo, Extras, Device], None]
"""Raises where the machine lacks what the extras need on the device."""


@dataclass
class _Taken:
    """What one launch of all entries gave, by the entry's index."""

    launches: dict[int, Launch] = field(default_factory=dict)
    batches: dict[int, int] = field(default_factory=dict)
    threads: dict[int, int] = field(default_factory=dict)
    readings: list[Reading] = field(default_factory=list)
    host: HostInfo | None = None


def measure(
    entries: Sequence[Entry],
    settings: BenchSettings,
    progress: Progress,
    link: Link | None = None,
    extras: Extras | None = None,
    check: Check = lambda _host, _extras, _device: None,
) -> Measurement:
    """Measure all entries against each other.

    For each launch one process of every entry is started; each warms up, then they take blocks of samples in turn, in
    a new random order each round, so that whatever slows the machine falls on all alike. Idle processes sleep. Peak
    memory is read before the first launch goes on to the whole data set. What is measured of each entry alone follows
    the last launch. A launch that a cut link took is taken once more over a new one.

    Args:
        entries: the contenders.
        settings: how much to measure.
        progress: told what is being done.
        link: to the device, open; None starts the workers on this machine.
        extras: what to measure of each entry alone.
        check: refuses, before anything is measured, what the machine that the workers run on lacks for the extras.

    Raises:
        DeviceLostError: the device was lost for good.
        EdgeMLError: a worker refused or died; no process is left behind.
    """
    if link is None:
        with local_link() as here:
            return measure(entries, settings, progress, here, extras, check)
    return _Run(entries, settings, progress, link, Extras() if extras is None else extras, check).measure()


def takes_one_at_a_time(connection: Connection) -> bool:
    """Whether only one worker may hold a model there: TVM's RPC server serves one connection, then the next."""
    return connection.worker_device != "local" and connection.measures_latency


class _Run:
    """One run, launch by launch."""

    def __init__(
        self,
        entries: Sequence[Entry],
        settings: BenchSettings,
        progress: Progress,
        link: Link,
        extras: Extras,
        check: Check,
    ) -> None:
        self._entries = entries
        self._settings = settings
        self._progress = progress
        self._link = link
        self._extras = extras
        self._check = check
        self._order = random.Random(settings.seed)  # noqa: S311 (an order, not a secret)
        self._watch = Watch(on_device=link.workers_on_device)
        self._launches = settings.launches if link.connection.measures_latency else 1
        self._steps = self._launches + len(entries) * len(extras.asked_for)

    def measure(self) -> Measurement:
        """All launches, then what each entry does alone."""
        taken = []
        for replicate in range(self._launches):
            name = f"launch {replicate + 1} of {self._launches}"
            self._tell(name, replicate)
            take = partial(self._launch if self._link.connection.measures_latency else self._answers, replicate)
            found = self._link.resumed(take, name, again=self._watch.link_was_cut)
            self._watch.keep(found.readings)
            taken.append(found)
        findings = self._alone() if self._extras.asked_for else [Findings() for _ in self._entries]
        host = taken[0].host
        assert host is not None
        indices = range(len(self._entries))
        return Measurement(
            launches=tuple(tuple(launch.launches[index] for launch in taken if launch.launches) for index in indices),
            batches=tuple(taken[-1].batches[index] for index in indices),
            threads=tuple(taken[-1].threads[index] for index in indices),
            findings=tuple(findings),
            host=host,
            readings=self._watch.readings,
            warnings=(*self._link.remarks, *self._watch.warnings()),
        )

    def _launch(self, replicate: int) -> _Taken:
        """One launch of every entry, their blocks interleaved where the device runs several workers side by side."""
        taken = _Taken()
        indices = self._order.sample(range(len(self._entries)), len(self._entries))
        if takes_one_at_a_time(self._link.connection):
            for index in indices:
                self._side_by_side([index], replicate, taken)
        else:
            self._side_by_side(sorted(indices), replicate, taken)
        return taken

    def _side_by_side(self, indices: Sequence[int], replicate: int, taken: _Taken) -> None:
        with ExitStack() as stack:
            started = {index: self._start(index, replicate, stack) for index in indices}
            running = list(started.values())
            self._begin(running[0], taken)
            for each in running:
                each.open()
            for each in self._order.sample(running, len(running)):
                each.warm_up()
            for block in range(BLOCKS):
                for each in self._order.sample(running, len(running)):
                    if block < len(each.block_runs):
                        each.take_block(block)
                        if self._tells_state:
                            taken.readings.append(self._watch.reading(each.state()))
            taken.launches |= {index: each.finish() for index, each in started.items()}
            for index, each in started.items():
                if replicate == 0:
                    self._predict(each)
                self._end(index, each, taken)

    def _answers(self, replicate: int) -> _Taken:
        """What the entries compute on a device whose times mean nothing, one after the other: emulators are slow."""
        taken = _Taken()
        for index in range(len(self._entries)):
            with ExitStack() as stack:
                running = self._start(index, replicate, stack)
                self._begin(running, taken)
                running.open()
                self._predict(running)
                self._end(index, running, taken)
        return taken

    def _alone(self) -> list[Findings]:
        """What is measured of each entry while nothing else runs on the device."""
        steps = iter(range(self._launches, self._steps))
        found = []
        for index, entry in enumerate(self._entries):

            def tell(what: str, name: str = entry.artifact.path.name) -> None:
                self._tell(f"{what} of {name}", next(steps, self._steps))

            def work(index: int = index, tell: Callable[[str], None] = tell) -> Findings:
                with ExitStack() as stack:
                    running = self._start(index, 0, stack)
                    self._begin(running, _Taken())
                    running.open()
                    running.warm_up()
                    findings = measure_alone(running, self._extras, tell)
                    self._end(index, running, _Taken())
                return findings

            name = f"what was measured of {entry.artifact.path.name} alone"
            found.append(self._link.resumed(work, name, again=self._watch.link_was_cut))
        return found

    @property
    def _tells_state(self) -> bool:
        """Whether what a worker reads is the state of the device that the model runs on."""
        return self._link.connection.worker_device == "local"

    def _start(self, index: int, replicate: int, stack: ExitStack) -> Running:
        return Running(self._entries[index], replicate, self._settings, self._link, stack)

    def _begin(self, running: Running, taken: _Taken) -> None:
        if taken.host is None:
            taken.host = running.host()
            self._check(taken.host, self._extras, self._link.connection.device)
        if self._link.workers_on_device:
            self._watch.began(running.state())

    def _end(self, index: int, running: Running, taken: _Taken) -> None:
        taken.batches[index] = running.batch
        taken.threads[index] = running.threads
        if self._link.workers_on_device:
            self._watch.ended(running.state())

    def _predict(self, running: Running) -> None:
        if running.entry.logits is not None:
            self._tell(f"accuracy of {running.entry.artifact.path.name}", 1)
        running.predict()

    def _tell(self, what: str, steps_done: int) -> None:
        self._progress(what, min(1.0, steps_done / self._steps))
