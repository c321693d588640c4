"""Measures contenders on one clip against each other: each in its own processes, blocks of frames taken in turn."""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from edgeml.core.artifact import Artifact
from edgeml.core.errors import UsageError
from edgeml.edge_bench.client import start_worker
from edgeml.edge_bench.conditions.throttling import fastest_core_mhz
from edgeml.edge_bench.measure import Progress
from edgeml.edge_bench.video.results import ClipLaunch, Layer

BLOCK_FRAMES = 16
WARM_UP_SHARE = 0.2
PASSES_LIMIT = 200

_COMMAND = (sys.executable, "-m", "edgeml.edge_bench.video.worker")
_OPEN_TIMEOUT_S = 600.0
_RUN_TIMEOUT_S = 300.0
_DATA_TIMEOUT_S = 3600.0


@dataclass(frozen=True, kw_only=True)
class VideoSettings:
    """How much to measure.

    Attributes:
        seconds: time for each contender's runs, warm-up included, over all launches together; every launch runs the
            whole clip at least once.
        launches: processes started for each contender, one after the other; at least 2.
        passes: how often each launch runs the clip, in place of the time limit.
        seed: decides the order of contenders.
    """

    seconds: float = 20.0
    launches: int = 5
    passes: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.seconds) and self.seconds > 0):
            raise UsageError(f"seconds is {self.seconds}; it must be above 0")
        if self.launches < 2:
            raise UsageError(
                f"launches is {self.launches}; it must be at least 2, since launches differ from each other"
            )
        if self.passes is not None and self.passes < 1:
            raise UsageError(f"passes is {self.passes}; it must be at least 1")


@dataclass(frozen=True, kw_only=True)
class ClipEntry:
    """One contender to be measured.

    Attributes:
        path: the file; NAME.residual.onnx of a pair.
        artifact: what is known of a file that is run on every frame; None runs a pair of files as a stream.
        threads: threads inside one operator.
        key_interval: frames between a stream's key frames; None for no limit, "file" for what its files say.
        answers: where to write what it answers to each frame.
    """

    path: Path
    artifact: Artifact | None
    threads: int
    key_interval: int | Literal["file"] | None
    answers: Path


@dataclass(frozen=True, kw_only=True)
class Description:
    """What a contender tells beside its speed.

    Attributes:
        frames: what a stream tells of each frame; empty for a file that is run on every frame.
        layers: convolutions of a stream that are computed in tiles.
        answered: whether its output holds classes, which were written.
    """

    frames: tuple[dict[str, Any], ...]
    layers: tuple[Layer, ...]
    answered: bool


@dataclass(frozen=True, kw_only=True)
class ClipMeasurement:
    """What was measured of one contender.

    Attributes:
        launches: in order; launch i of all contenders ran at the same time.
        description: what is told of it apart from its speed.
    """

    launches: tuple[ClipLaunch, ...]
    description: Description


class _Running:
    """One launch of one entry, while it is alive."""

    def __init__(self, entry: ClipEntry, stack: ExitStack) -> None:
        """Start the process; `open` then waits for it, so that all entries' interpreters start side by side."""
        self.entry = entry
        self._worker = stack.enter_context(start_worker(str(entry.path), _COMMAND))
        self._passes: list[list[float]] = []

    def open(self, clip: Path, cuts: Sequence[int]) -> None:
        entry = self.entry
        opened = self._worker.ask(
            "open",
            timeout_s=_OPEN_TIMEOUT_S,
            path=str(entry.path),
            threads=entry.threads,
            clip=str(clip),
            artifact=None if entry.artifact is None else entry.artifact.to_json(),
            key_interval=entry.key_interval,
            cuts=list(cuts),
        )
        self._load_ms = float(opened["load_ms"])

    def warm_up(self, limit_s: float) -> None:
        warm = self._worker.ask("warm_up", timeout_s=_RUN_TIMEOUT_S + limit_s, limit_s=limit_s)
        self._warm_runs, self._stable = int(warm["runs"]), bool(warm["stable"])
        self.frame_ms = float(warm["latency_ms"])

    def take_block(self, start: int, count: int) -> None:
        """Take the next frames of the clip; frame 0 begins a new pass."""
        if start == 0:
            self._passes.append([])
        timeout_s = _RUN_TIMEOUT_S + 10 * count * self.frame_ms / 1e3
        answer = self._worker.ask("sample", timeout_s=timeout_s, start=start, count=count)
        self._passes[-1] += [nanoseconds / 1e6 for nanoseconds in answer["latency_ns"]]

    def finish(self) -> ClipLaunch:
        """The launch, once its samples are taken."""
        memory = self._worker.ask("memory", timeout_s=_RUN_TIMEOUT_S)
        return ClipLaunch(
            latency_ms=tuple(map(tuple, self._passes)),
            warmup=self._warm_runs,
            stable=self._stable,
            load_ms=self._load_ms,
            peak_memory_bytes=int(memory["peak_memory_bytes"]),
        )

    def describe(self) -> Description:
        """What is told of each frame by the very session that was timed, and whether there are answers."""
        found = self._worker.ask("describe", timeout_s=_DATA_TIMEOUT_S, output=str(self.entry.answers))
        return Description(
            frames=tuple(found["frames"]),
            layers=tuple(Layer(**layer) for layer in found["layers"]),
            answered=found["answers"] is not None,
        )


def measure_clip(
    entries: Sequence[ClipEntry],
    clip: Path,
    *,
    frames: int,
    cuts: Sequence[int],
    settings: VideoSettings,
    progress: Progress,
) -> tuple[tuple[ClipMeasurement, ...], tuple[float, ...]]:
    """Measure all entries against each other.

    For each launch one process of every entry is started; each warms up, then they run the clip side by side: a block
    of frames each, in a new random order each round, streams going on where they stopped. Idle processes sleep.

    Args:
        entries: the contenders.
        clip: file of their frames, float32 (frame, channels, height, width) as .npy.
        frames: how many there are.
        cuts: indices of frames that begin a new scene.
        settings: how much to measure.
        progress: told what is being done.

    Returns:
        One measurement an entry, and the frequency of the fastest core in MHz after each block, where it is told.

    Raises:
        EdgeMLError: a worker refused or died; no process is left behind.
    """
    order = random.Random(settings.seed)  # noqa: S311 (an order, not a secret)
    launches: list[list[ClipLaunch]] = [[] for _ in entries]
    described: list[Description] = []
    frequencies_mhz: list[float] = []
    for replicate in range(settings.launches):
        progress(f"launch {replicate + 1} of {settings.launches}", replicate / settings.launches)
        with ExitStack() as stack:
            running = [_Running(entry, stack) for entry in entries]
            for each in running:
                each.open(clip, cuts)
            for each in order.sample(running, len(running)):
                each.warm_up(WARM_UP_SHARE * settings.seconds / settings.launches)
            for _ in range(_passes(settings, [each.frame_ms for each in running], frames)):
                for start in range(0, frames, BLOCK_FRAMES):
                    for each in order.sample(running, len(running)):
                        each.take_block(start, min(BLOCK_FRAMES, frames - start))
                        if (frequency := fastest_core_mhz()) is not None:
                            frequencies_mhz.append(frequency)
            for index, each in enumerate(running):
                launches[index].append(each.finish())
            if replicate == 0:
                for each in running:
                    progress(f"answers of {each.entry.path.name}", 1 / settings.launches)
                    described.append(each.describe())
    measurements = tuple(
        ClipMeasurement(launches=tuple(taken), description=description)
        for taken, description in zip(launches, described, strict=True)
    )
    return measurements, tuple(frequencies_mhz)


def _passes(settings: VideoSettings, frame_ms: Sequence[float], frames: int) -> int:
    """Passes of one launch: as asked for, or what fits the time of all contenders together."""
    if settings.passes is not None:
        return settings.passes
    time_ms = (1 - WARM_UP_SHARE) * settings.seconds / settings.launches * 1e3 * len(frame_ms)
    return max(1, min(PASSES_LIMIT, int(time_ms / max(sum(frame_ms) * frames, 1e-3))))
