"""The program that measures: opens one Session and obeys commands, one JSON object a line, on stdin and stdout.

Run as `python -m edgeml.edge_bench.worker`. It needs the base install only and knows nothing of other contenders, so
the same program serves a process on this machine and one at the far end of a link. Commands and what each answers:

    open     artifact (a manifest), path, runtime, threads, batch, seed, samples (path or null)
             -> load_ms, threads, batch
    warm_up  limit_s -> runs, stable, latency_ms
    sample   runs, settle -> latency_ns: the timed runs, after `settle` runs that are not kept
    predict  samples (path of float32 .npy), output (path) -> count; writes the first output's rows as .npy
    memory   -> peak_memory_bytes
    stop     -> nothing, and the program ends

An answer is {"ok": {...}} or {"error": message, "kind": name of the EdgeMLError}.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeml.core.artifact import Artifact
from edgeml.core.device import Device
from edgeml.core.session import Feeds, Session, SessionOptions
from edgeml.edge_bench.feeds import as_input, batch_of, only_input, random_feeds, sample_feeds
from edgeml.edge_bench.memory import bound_memory
from edgeml.edge_bench.warmup import warm_up
from edgeml.edge_bench.worker_loop import Command, run_worker, timed
from edgeml.runtime.registry import get_runtime, import_package
from edgeml.runtime.threads import available_threads

_ACCURACY_BATCH = 32


class Worker:
    """One open Session and the feeds it is measured with."""

    def __init__(self, session: Session, feeds: list[dict[str, npt.NDArray[Any]]], batch: int) -> None:
        self._session = session
        self._feeds = feeds
        self._batch = batch
        self._next = 0

    @property
    def commands(self) -> dict[str, Command]:
        """What it obeys, by name."""
        return {"warm_up": self.warm_up, "sample": self.sample, "predict": self.predict}

    def take(self, runs: int) -> list[int]:
        """Latency of each of `runs` runs in nanoseconds: the call of `Session.run` on feeds that lie ready."""
        turn = [self._feeds[(self._next + index) % len(self._feeds)] for index in range(runs)]
        self._next += runs
        return timed(self._session.run, turn)

    def warm_up(self, limit_s: float) -> dict[str, Any]:
        """Run until latency settles."""
        result = warm_up(self.take, int(limit_s * 1e9))
        return {"runs": result.runs, "stable": result.stable, "latency_ms": result.latency_ns / 1e6}

    def sample(self, runs: int, settle: int) -> dict[str, Any]:
        """Measure; the first `settle` runs bring the model back into the caches and are dropped."""
        if settle:
            self.take(settle)
        return {"latency_ns": self.take(runs)}

    def predict(self, samples: str, output: str) -> dict[str, Any]:
        """Write the first output's row for each sample, computed by the Session that is measured."""
        spec = only_input(self._session.inputs)
        inputs = np.load(samples, mmap_mode="r")
        size = self._batch if isinstance(spec.shape[0], int) else max(self._batch, _ACCURACY_BATCH)
        rows = []
        for start in range(0, len(inputs), size):
            batch = np.ascontiguousarray(inputs[start : start + size])
            count = len(batch)
            if count < size and isinstance(spec.shape[0], int):  # a fixed batch is filled up; the filling is cut off
                batch = np.concatenate([batch, np.repeat(batch[-1:], size - count, axis=0)])
            feeds: Feeds = {spec.name: as_input(spec, batch)}
            first = self._session.run(feeds)[self._session.outputs[0].name]
            rows.append(np.asarray(first[:count], dtype=np.float32))
        np.save(output, np.concatenate(rows))
        return {"count": len(inputs)}


def open_worker(
    *,
    artifact: dict[str, Any],
    path: str,
    runtime: str,
    threads: int | None,
    batch: int,
    seed: int,
    samples: str | None,
) -> tuple[dict[str, Command], dict[str, Any]]:
    """What a worker for one artifact obeys, and what opening it took.

    Raises:
        EdgeMLError: the artifact cannot be opened or fed.
    """
    model = Artifact.from_json(artifact, Path(path).parent).at(Path(path))
    backend = get_runtime(runtime)
    import_package(runtime)  # not part of the model's load time
    bound_memory()
    start = time.perf_counter_ns()
    session = backend.open(model, Device("local"), SessionOptions(threads=threads))
    load_ms = (time.perf_counter_ns() - start) / 1e6
    size = batch_of(session.inputs, batch)
    if samples is None:
        feeds = random_feeds(session.inputs, size, seed)
    else:
        feeds = sample_feeds(session.inputs, np.load(samples, mmap_mode="r"), size)
    session.run(feeds[0])  # a model that does not fit its feeds is told of now, not while others wait
    return Worker(session, feeds, size).commands, {
        "load_ms": load_ms,
        "threads": available_threads() if threads is None else threads,
        "batch": size,
    }


def main() -> None:
    """Serve on this process's stdin and stdout."""
    run_worker(open_worker)


if __name__ == "__main__":
    main()
