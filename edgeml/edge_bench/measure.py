"""Measures contenders against each other: every one in its own processes, their samples taken in turn."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from edgeml.core.artifact import Artifact
from edgeml.core.bench_result import Launch
from edgeml.core.errors import UsageError
from edgeml.edge_bench.client import WorkerProcess
from edgeml.edge_bench.throttling import fastest_core_mhz

BLOCKS = 5
WARM_UP_SHARE = 0.3
SETTLE_SHARE = 0.05
SAMPLES_LIMIT = 2000
"""Most samples of one launch: more would only swell the results file."""

_OPEN_TIMEOUT_S = 600.0
_RUN_TIMEOUT_S = 300.0
_DATA_TIMEOUT_S = 3600.0


@dataclass(frozen=True, kw_only=True)
class BenchSettings:
    """How much to measure.

    Attributes:
        seconds: time for each contender's runs, warm-up included, over all launches together.
        launches: processes started for each contender, one after the other; at least 2.
        samples: timed runs of each contender over all launches, in place of the time limit.
        batch: samples fed in one run, where the model does not fix it.
        seed: decides the order of contenders and the random feeds.
    """

    seconds: float = 4.0
    launches: int = 5
    samples: int | None = None
    batch: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.seconds) and self.seconds > 0):
            raise UsageError(f"seconds is {self.seconds}; it must be above 0")
        if self.launches < 2:
            raise UsageError(
                f"launches is {self.launches}; it must be at least 2, since launches differ from each other"
            )
        if self.samples is not None and self.samples < self.launches:
            raise UsageError(f"samples is {self.samples}; it must be at least 1 for each of {self.launches} launches")
        if self.batch < 1:
            raise UsageError(f"batch is {self.batch}; it must be at least 1")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One contender to be measured.

    Attributes:
        artifact: the model file.
        runtime: name of the runtime.
        threads: threads inside one operator.
        samples: file of float32 (sample, channels, height, width) inputs as .npy; None feeds random values.
        logits: where to write the first output for every sample; None leaves accuracy out.
    """

    artifact: Artifact
    runtime: str
    threads: int
    samples: Path | None
    logits: Path | None


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What was measured.

    Attributes:
        launches: of each entry, in order; launch i of all entries ran at the same time.
        batches: the batch each entry was measured at.
        frequencies_mhz: frequency of the fastest core right after each block, empty where it is not told.
    """

    launches: tuple[tuple[Launch, ...], ...]
    batches: tuple[int, ...]
    frequencies_mhz: tuple[float, ...]


Progress = Callable[[str, float], None]
"""Told what is being done and which share of the run is done."""


def runs_of_launch(settings: BenchSettings, replicate: int, latency_ms: float) -> int:
    """Timed runs of one launch: its part of the samples asked for, or what fits the time, at least 2."""
    if settings.samples is not None:
        return settings.samples // settings.launches + (replicate < settings.samples % settings.launches)
    time_ms = (1 - WARM_UP_SHARE) * settings.seconds / settings.launches * 1e3
    return max(2, min(SAMPLES_LIMIT, int(time_ms / max(latency_ms, 1e-3))))


class _Running:
    """One launch of one entry, while it is alive."""

    def __init__(self, entry: Entry, replicate: int, settings: BenchSettings, stack: ExitStack) -> None:
        """Start the process; `open` then waits for it, so that all entries' interpreters start side by side."""
        self.entry = entry
        self._replicate = replicate
        self._settings = settings
        self._worker = stack.enter_context(WorkerProcess(str(entry.artifact.path)))
        self._latency_ms: list[float] = []
        self._block: list[int] = []

    def open(self) -> None:
        """Load the model."""
        entry = self.entry
        opened = self._worker.ask(
            "open",
            timeout_s=_OPEN_TIMEOUT_S,
            artifact=entry.artifact.to_json(),
            path=str(entry.artifact.path),
            runtime=entry.runtime,
            threads=entry.threads,
            batch=self._settings.batch,
            seed=self._settings.seed,
            samples=None if entry.samples is None else str(entry.samples),
        )
        self.load_ms = float(opened["load_ms"])
        self.batch = int(opened["batch"])

    def warm_up(self) -> None:
        """Warm up, then fix how many runs each block takes."""
        limit_s = WARM_UP_SHARE * self._settings.seconds / self._settings.launches
        warm = self._worker.ask("warm_up", timeout_s=_RUN_TIMEOUT_S + limit_s, limit_s=limit_s)
        self._warm_runs, self._stable = int(warm["runs"]), bool(warm["stable"])
        runs = runs_of_launch(self._settings, self._replicate, float(warm["latency_ms"]))
        blocks = min(BLOCKS, runs)
        self.block_runs = [runs // blocks + (index < runs % blocks) for index in range(blocks)]
        self._timeout_s = _RUN_TIMEOUT_S + 10 * runs * float(warm["latency_ms"]) / 1e3

    def take_block(self, index: int) -> None:
        """Take one block of samples."""
        runs = self.block_runs[index]
        # Other contenders ran since the last block and took the caches; one run in twenty brings the model back.
        settle = math.ceil(SETTLE_SHARE * runs) if runs >= 5 else 0
        answer = self._worker.ask("sample", timeout_s=self._timeout_s, runs=runs, settle=settle)
        self._latency_ms += [nanoseconds / 1e6 for nanoseconds in answer["latency_ns"]]
        self._block += [index] * len(answer["latency_ns"])

    def finish(self) -> Launch:
        """The launch, once its samples are taken."""
        memory = self._worker.ask("memory", timeout_s=_RUN_TIMEOUT_S)
        return Launch(
            latency_ms=tuple(self._latency_ms),
            block=tuple(self._block),
            warmup=self._warm_runs,
            stable=self._stable,
            load_ms=self.load_ms,
            peak_memory_bytes=int(memory["peak_memory_bytes"]),
        )

    def predict(self) -> None:
        """Write the logits of every sample, by the Session that was timed."""
        if self.entry.samples is not None and self.entry.logits is not None:
            self._worker.ask(
                "predict", timeout_s=_DATA_TIMEOUT_S, samples=str(self.entry.samples), output=str(self.entry.logits)
            )


def measure(entries: Sequence[Entry], settings: BenchSettings, progress: Progress) -> Measurement:
    """Measure all entries against each other.

    For each launch one process of every entry is started; each warms up, then they take blocks of samples in turn, in
    a new random order each round, so that whatever slows the machine falls on all alike. Idle processes sleep. Peak
    memory is read before the first launch goes on to the whole data set.

    Raises:
        EdgeMLError: a worker refused or died; no process is left behind.
    """
    order = random.Random(settings.seed)  # noqa: S311 (an order, not a secret)
    launches: list[list[Launch]] = [[] for _ in entries]
    batches: tuple[int, ...] = ()
    frequencies_mhz: list[float] = []
    for replicate in range(settings.launches):
        progress(f"launch {replicate + 1} of {settings.launches}", replicate / settings.launches)
        with ExitStack() as stack:
            running = [_Running(entry, replicate, settings, stack) for entry in entries]
            for each in running:
                each.open()
            batches = tuple(each.batch for each in running)
            for each in order.sample(running, len(running)):
                each.warm_up()
            for block in range(BLOCKS):
                for each in order.sample(running, len(running)):
                    if block < len(each.block_runs):
                        each.take_block(block)
                        if (frequency := fastest_core_mhz()) is not None:
                            frequencies_mhz.append(frequency)
            for index, each in enumerate(running):
                launches[index].append(each.finish())
            if replicate == 0:
                for each in running:
                    if each.entry.logits is not None:
                        progress(f"accuracy of {each.entry.artifact.path.name}", 1 / settings.launches)
                    each.predict()
    return Measurement(
        launches=tuple(tuple(each) for each in launches), batches=batches, frequencies_mhz=tuple(frequencies_mhz)
    )
