"""The program that measures: opens one Session and obeys commands, one JSON object a line, on stdin and stdout.

Run as `python -m edgeml.edge_bench.worker`. It needs the base install only and knows nothing of other contenders, so
the same program serves a process on this machine and one at the far end of a link. Commands and what each answers:

    memory      -> peak_memory_bytes
    host        -> the machine, as HostInfo.to_json
    conditions  -> conditions, frequency_mhz, temperature_c: the machine's state now, as DeviceState.to_json
    open        artifact (a manifest), path, runtime, device, threads, batch, seed, samples (path or null)
                -> load_ms, threads, batch
    stop        -> nothing, and the program ends

and, once a model is open:

    warm_up     limit_s -> runs, stable, latency_ms
    sample      runs, settle -> latency_ns: the timed runs, after `settle` runs that are not kept
    predict     samples (path of float32 .npy), output (path) -> count; writes the first output's rows as .npy
    load        seconds -> runs, median_ms, p90_ms: of runs one after the other for that long
    scenario    the values of ScenarioSettings -> scenario: a ScenarioResult
    profile     runs -> profile: a Profile
    energy      seconds -> energy: an Energy, null where nothing counts it

The device is "local" where the model runs on the machine that this program runs on, else what the Session reaches out
to. An answer is {"ok": {...}} or {"error": message, "kind": name of the EdgeMLError}.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from edgeml.core.artifact import Artifact
from edgeml.core.device import LOCAL, Device
from edgeml.core.errors import UsageError
from edgeml.core.session import Feeds, Session, SessionOptions
from edgeml.edge_bench.feeds import as_input, batch_of, only_input, random_feeds, sample_feeds
from edgeml.edge_bench.memory import bound_memory
from edgeml.edge_bench.warmup import warm_up
from edgeml.edge_bench.worker_loop import Command, run_worker, timed
from edgeml.runtime.registry import get_runtime, import_package
from edgeml.runtime.threads import available_threads

_ACCURACY_BATCH = 32
_LOAD_TURN_NS = 100_000_000

Arrays = dict[str, npt.NDArray[Any]]
Take = Callable[[Sequence[Feeds]], list[int]]
"""Runs the model on each of these feeds; each latency in nanoseconds."""


class Worker:
    """One open Session and the feeds it is measured with."""

    def __init__(self, session: Session, feeds: list[Arrays], batch: int, take: Take) -> None:
        self._session = session
        self._feeds = feeds
        self._batch = batch
        self._take = take
        self._next = 0

    @property
    def commands(self) -> dict[str, Command]:
        """What it obeys, by name."""
        return {"warm_up": self.warm_up, "sample": self.sample, "predict": self.predict, "load": self.load}

    def take(self, runs: int) -> list[int]:
        """Latency of each of `runs` runs in nanoseconds: the call of `Session.run` on feeds that lie ready."""
        turn = [self._feeds[(self._next + index) % len(self._feeds)] for index in range(runs)]
        self._next += runs
        return self._take(turn)

    def warm_up(self, limit_s: float) -> dict[str, Any]:
        """Run until latency settles."""
        result = warm_up(self.take, int(limit_s * 1e9))
        return {"runs": result.runs, "stable": result.stable, "latency_ms": result.latency_ns / 1e6}

    def sample(self, runs: int, settle: int) -> dict[str, Any]:
        """Measure; the first `settle` runs bring the model back into the caches and are dropped."""
        if settle:
            self.take(settle)
        return {"latency_ns": self.take(runs)}

    def load(self, seconds: float) -> dict[str, Any]:
        """Run without a pause; only figures are kept, since minutes of a fast model are millions of samples."""
        end_ns = time.perf_counter_ns() + int(seconds * 1e9)
        latencies = self.take(1)
        while time.perf_counter_ns() < end_ns:
            latencies += self.take(max(1, int(_LOAD_TURN_NS / max(statistics.median(latencies[-100:]), 1))))
        median_ns, p90_ns = np.quantile(latencies, [0.5, 0.9])
        return {"runs": len(latencies), "median_ms": float(median_ns) / 1e6, "p90_ms": float(p90_ns) / 1e6}

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
    device: str = "local",
) -> tuple[dict[str, Command], dict[str, Any]]:
    """What a worker for one artifact obeys, and what opening it took.

    Raises:
        EdgeMLError: the artifact cannot be opened or fed.
    """
    model = Artifact.from_json(artifact, Path(path).parent).at(Path(path))
    target = Device.parse(device)
    backend = get_runtime(runtime)
    import_package(runtime)  # not part of the model's load time
    bound_memory()
    start = time.perf_counter_ns()
    session = backend.open(model, target, SessionOptions(threads=threads))
    load_ms = (time.perf_counter_ns() - start) / 1e6
    size = batch_of(session.inputs, batch)
    if samples is None:
        feeds = random_feeds(session.inputs, size, seed)
    else:
        feeds = sample_feeds(session.inputs, np.load(samples, mmap_mode="r"), size)
    session.run(feeds[0])  # a model that does not fit its feeds is told of now, not while others wait
    count = available_threads() if threads is None else threads
    commands = Worker(session, feeds, size, _clock(session, target)).commands
    if target == LOCAL:
        commands |= _commands_on_device(session, feeds, size, model, runtime, count)
    else:
        commands["memory"] = lambda: {"peak_memory_bytes": 0}  # this process's would say nothing of the device
    return commands, {"load_ms": load_ms, "threads": count, "batch": size}


def _clock(session: Session, device: Device) -> Take:
    """How runs are timed: here around the call, or by a device's own clock, which leaves the link to it out."""
    if device.scheme not in {"rpc", "rpc-tracker"}:
        return lambda turn: timed(session.run, turn)
    from edgeml.runtime.process_session import ProcessSession

    remote = cast("ProcessSession", session)

    def take(turn: Sequence[Feeds]) -> list[int]:
        # Each call sends its feeds over the link, so equal ones are run in one go.
        latencies = []
        for feeds in {id(each): each for each in turn}.values():
            runs = sum(each is feeds for each in turn)
            latencies += [max(1, round(1e6 * value)) for value in remote.device_latencies_ms(feeds, runs)]
        return latencies

    return take


def _commands_on_device(
    session: Session, feeds: Sequence[Arrays], batch: int, artifact: Artifact, runtime: str, threads: int
) -> dict[str, Command]:
    """Commands for a model that runs in this process; each loads what it needs when it is called."""

    def run(index: int) -> object:
        return session.run(feeds[index % len(feeds)])

    def scenario(**settings: Any) -> dict[str, Any]:
        from edgeml.edge_bench.scenarios.loadgen import run_scenario
        from edgeml.edge_bench.scenarios.settings import ScenarioSettings

        return {"scenario": asdict(run_scenario(run, batch, ScenarioSettings.from_json(settings)))}

    def profile(runs: int) -> dict[str, Any]:
        if runs < 1:
            raise UsageError(f"runs is {runs}; a profile takes at least 1")
        from edgeml.edge_bench.profile.profile import profile as take_profile

        return {"profile": asdict(take_profile(artifact, runtime, threads, feeds, runs))}

    def energy(seconds: float) -> dict[str, Any]:
        from edgeml.edge_bench.energy.measurement import measure_energy
        from edgeml.edge_bench.energy.sensors import why_no_sensor

        index = iter(range(1 << 62))
        found = measure_energy(lambda: run(next(index)), seconds)
        if found is None:
            return {"energy": None, "why": why_no_sensor()}
        return {"energy": asdict(found)}

    return {"scenario": scenario, "profile": profile, "energy": energy}


def main() -> None:
    """Serve on this process's stdin and stdout."""
    run_worker(open_worker)


if __name__ == "__main__":
    main()
