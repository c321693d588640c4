"""One start of a contender's worker on the device, from the first command to the last."""

from __future__ import annotations

import math
from contextlib import ExitStack
from typing import Any

from edgeml.core.bench_result import Launch
from edgeml.core.host import HostInfo
from edgeml.edge_bench.bench_settings import WARM_UP_SHARE, BenchSettings, Entry, runs_of_launch
from edgeml.edge_bench.client import WorkerClient
from edgeml.edge_bench.conditions.device_state import DeviceState
from edgeml.edge_bench.link import Link

BLOCKS = 5
SETTLE_SHARE = 0.05

_OPEN_TIMEOUT_S = 600.0
_RUN_TIMEOUT_S = 300.0
_DATA_TIMEOUT_S = 3600.0


class Running:
    """One launch of one entry, while it is alive."""

    def __init__(self, entry: Entry, replicate: int, settings: BenchSettings, link: Link, stack: ExitStack) -> None:
        """Start the worker; `open` then waits for it, so that all entries' interpreters start side by side.

        Args:
            entry: what it measures.
            replicate: number of the launch.
            settings: how much to measure.
            link: to the device; files are brought there first.
            stack: ends the worker.
        """
        self.entry = entry
        self._replicate = replicate
        self._settings = settings
        self._link = link
        self._path = link.put(entry.artifact.path)
        self._samples = None if entry.samples is None else link.put(entry.samples)
        label = str(entry.artifact.path)
        self._worker = stack.enter_context(WorkerClient(link.connection.start(label), label))
        self._latency_ms: list[float] = []
        self._block: list[int] = []

    def host(self) -> HostInfo:
        """The machine that the worker runs on."""
        return HostInfo.from_json(self.ask("host"))

    def state(self) -> DeviceState:
        """That machine's state now."""
        return DeviceState.from_json(self.ask("conditions"))

    def open(self) -> None:
        """Load the model."""
        entry = self.entry
        opened = self.ask(
            "open",
            timeout_s=_OPEN_TIMEOUT_S,
            artifact=entry.artifact.to_json(),
            path=self._path,
            runtime=entry.runtime,
            device=self._link.connection.worker_device,
            threads=entry.threads,
            batch=self._settings.batch,
            seed=self._settings.seed,
            samples=self._samples,
        )
        self.load_ms = float(opened["load_ms"])
        self.batch = int(opened["batch"])
        self.threads = int(opened["threads"])

    def warm_up(self) -> None:
        """Warm up, then fix how many runs each block takes."""
        limit_s = WARM_UP_SHARE * self._settings.seconds / self._settings.launches
        warm = self.ask("warm_up", timeout_s=_RUN_TIMEOUT_S + limit_s, limit_s=limit_s)
        self._warm_runs, self._stable = int(warm["runs"]), bool(warm["stable"])
        self.latency_ms = float(warm["latency_ms"])
        runs = runs_of_launch(self._settings, self._replicate, self.latency_ms)
        blocks = min(BLOCKS, runs)
        self.block_runs = [runs // blocks + (index < runs % blocks) for index in range(blocks)]
        self._timeout_s = _RUN_TIMEOUT_S + 10 * runs * self.latency_ms / 1e3

    def take_block(self, index: int) -> None:
        """Take one block of samples."""
        runs = self.block_runs[index]
        # Other contenders ran since the last block and took the caches; one run in twenty brings the model back.
        settle = math.ceil(SETTLE_SHARE * runs) if runs >= 5 else 0
        answer = self.ask("sample", timeout_s=self._timeout_s, runs=runs, settle=settle)
        self._latency_ms += [nanoseconds / 1e6 for nanoseconds in answer["latency_ns"]]
        self._block += [index] * len(answer["latency_ns"])

    def finish(self) -> Launch:
        """The launch, once its samples are taken."""
        memory = self.ask("memory")
        return Launch(
            latency_ms=tuple(self._latency_ms),
            block=tuple(self._block),
            warmup=self._warm_runs,
            stable=self._stable,
            load_ms=self.load_ms,
            peak_memory_bytes=int(memory["peak_memory_bytes"]),
        )

    def predict(self) -> None:
        """Bring the logits of every sample here, computed by the Session that was timed."""
        if self._samples is None or self.entry.logits is None:
            return
        output = self._link.connection.scratch(self.entry.logits.name)
        self.ask("predict", timeout_s=_DATA_TIMEOUT_S, samples=self._samples, output=output)
        self._link.connection.fetch(output, self.entry.logits)

    def ask(self, command: str, *, timeout_s: float = _RUN_TIMEOUT_S, **arguments: Any) -> dict[str, Any]:
        """Send the worker a command and return its answer, as `WorkerClient.ask`."""
        return self._worker.ask(command, timeout_s=timeout_s, **arguments)
