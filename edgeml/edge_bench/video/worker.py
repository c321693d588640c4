"""The program that measures one contender on a clip: a stream, or a file run on every frame.

Run as `python -m edgeml.edge_bench.video.worker`; it obeys commands as `edgeml.edge_bench.worker` does, one JSON object
a line. Commands and what each answers:

    open     path, threads, clip (path of float32 .npy), artifact (a manifest; null opens a pair of files as a stream),
             key_interval ("file", null or a count), cuts (indices of frames)
             -> load_ms
    warm_up  limit_s -> runs, stable, latency_ms (of one frame)
    sample   start, count -> latency_ns: of these frames, which follow those sampled before; start 0 begins anew
    describe output (path) -> frames (what a stream tells of each), layers (name and macs of what it computes in tiles),
             answers (null, or the shape of what `output` holds)
    memory   -> peak_memory_bytes
    stop     -> nothing, and the program ends
"""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeml.edge_bench.memory import bound_memory
from edgeml.edge_bench.video.answers import AnswerWriter
from edgeml.edge_bench.video.runners import Runner, open_frames, open_stream
from edgeml.edge_bench.warmup import warm_up
from edgeml.edge_bench.worker_loop import Command, run_worker, timed
from edgeml.runtime.registry import import_package

_WARM_UP_FRAMES = 8
_SETTLE_FRAMES = 2

Frames = npt.NDArray[np.float32]


class ClipWorker:
    """One contender and the frames it is measured on."""

    def __init__(self, runner: Runner, frames: Frames) -> None:
        self._runner = runner
        self._frames = frames
        self._step = runner.begin()

    @property
    def commands(self) -> dict[str, Command]:
        """What it obeys, by name."""
        return {"warm_up": self.warm_up, "sample": self.sample, "describe": self.describe}

    def warm_up(self, limit_s: float) -> dict[str, Any]:
        """Run the clip's first frames again and again until their latency settles."""
        first = range(min(_WARM_UP_FRAMES, len(self._frames)))

        def take(runs: int) -> list[int]:
            latencies = []
            for _ in range(runs):
                self._step = self._runner.begin()
                latencies.append(sum(self._timed(first)))
            return latencies

        result = warm_up(take, int(limit_s * 1e9))
        return {
            "runs": result.runs * len(first),
            "stable": result.stable,
            "latency_ms": result.latency_ns / 1e6 / len(first),
        }

    def sample(self, start: int, count: int) -> dict[str, Any]:
        """Time the frames from `start` on, each a call with a frame that lies ready.

        Other contenders ran since the last block and took the caches: the frames before are run once more, by a stream
        of its own, to bring the model back.
        """
        step, self._step = self._step, self._runner.begin()
        self._timed([index % len(self._frames) for index in range(start - _SETTLE_FRAMES, start)])
        if start > 0:
            self._step = step
        else:
            self._step = self._runner.begin()
        return {"latency_ns": self._timed(range(start, start + count))}

    def describe(self, output: str) -> dict[str, Any]:
        """What the contender tells of each frame, and its answers as a file."""
        step, told = self._runner.begin(), []
        writer = AnswerWriter(Path(output), len(self._frames))
        for index, frame in enumerate(self._frames):
            outputs = step(frame)
            writer.put(index, outputs[self._runner.output])
            if self._runner.told is not None:
                told.append(self._runner.told() | {"active_tiles": []})
        answers, layers = writer.close(), []
        if self._runner.tiles is not None:
            tiled = self._runner.tiles(self._frames)
            layers = [asdict(layer) for layer in tiled.layers]
            for facts, frame in zip(told if layers else (), tiled.frames, strict=True):
                facts |= {"active_tiles": list(frame.shares), "bit_operations": frame.bit_operations}
        return {"frames": told, "layers": layers, "answers": answers}

    def _timed(self, indices: Any) -> list[int]:
        """Latency of each of these frames in nanoseconds."""
        return timed(self._step, [self._frames[index] for index in indices])


def open_worker(
    *,
    path: str,
    threads: int,
    clip: str,
    artifact: dict[str, Any] | None,
    key_interval: Any,
    cuts: list[int],
) -> tuple[dict[str, Command], dict[str, Any]]:
    """What a worker for one contender obeys, and what opening it took.

    Raises:
        EdgeMLError: the file cannot be opened or fed.
    """
    import_package("onnxruntime")  # not part of the model's load time
    bound_memory()
    frames = np.load(clip)
    start = time.perf_counter_ns()
    runner = (
        open_stream(Path(path), threads=threads, key_interval=key_interval, cuts=cuts)
        if artifact is None
        else open_frames(Path(path), artifact, threads=threads)
    )
    load_ms = (time.perf_counter_ns() - start) / 1e6
    runner.begin()(frames[0])  # a model that does not fit its frames is told of now, not while others wait
    return ClipWorker(runner, frames).commands, {"load_ms": load_ms}


def main() -> None:
    """Serve on this process's stdin and stdout."""
    run_worker(open_worker)


if __name__ == "__main__":
    main()
