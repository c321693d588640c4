"""What is timed: a stream that goes on from frame to frame, or a Session that sees every frame alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeml.core.artifact import Artifact
from edgeml.core.device import Device
from edgeml.core.session import SessionOptions
from edgeml.edge_bench.feeds import only_input
from edgeml.edge_bench.video.active_tiles import TiledClip, tiled_clip
from edgeml.runtime.registry import get_runtime
from edgeml.runtime.streaming.frame import FrameStatistics
from edgeml.runtime.streaming.model import StreamingModel

Outputs = Mapping[str, npt.NDArray[Any]]
Step = Callable[[npt.NDArray[np.float32]], Outputs]


@dataclass(frozen=True, kw_only=True)
class Runner:
    """A contender that is open.

    Attributes:
        begin: begins the clip anew; what it returns takes frames in order and gives their outputs.
        output: name of the output whose answers are compared.
        told: what is known of the frame that was run last; None of a contender that tells nothing.
        tiles: runs a clip apart from all else and tells which tiles were computed; None of a contender without tiles.
    """

    begin: Callable[[], Step]
    output: str
    told: Callable[[], dict[str, Any]] | None
    tiles: Callable[[Iterable[npt.NDArray[np.float32]]], TiledClip] | None


class _KnownCuts:
    """A detector that was told beforehand: finding cuts is not what is measured."""

    def __init__(self, cuts: Sequence[int]) -> None:
        self._cuts, self._next = frozenset(cuts), 0

    def is_cut(self, frame: npt.NDArray[np.float32]) -> bool:  # noqa: ARG002 (a detector's signature)
        self._next += 1
        return self._next - 1 in self._cuts


def open_stream(path: Path, *, threads: int, key_interval: Any, cuts: Sequence[int]) -> Runner:
    """A pair of files as a stream.

    Args:
        path: NAME.residual.onnx.
        threads: inside one operator.
        key_interval: frames between key frames; None for no limit, "file" for what the files say.
        cuts: indices of frames that begin a new scene.

    Raises:
        EdgeMLError: the files cannot be opened.
    """
    model = StreamingModel.open(path, SessionOptions(threads=threads))
    last: list[FrameStatistics] = []

    def detector() -> _KnownCuts | None:
        return _KnownCuts(cuts) if cuts else None

    def begin() -> Step:
        stream = model.stream(key_interval=key_interval, cut_detector=detector())

        def step(frame: npt.NDArray[np.float32]) -> Outputs:
            result = stream.step(frame)
            last[:] = [result.statistics]
            return result.outputs

        return step

    def told() -> dict[str, Any]:
        statistics = last[0]
        return {
            "kind": statistics.kind,
            "reason": statistics.reason,
            "bit_operations": statistics.bit_operations,
            "changed": list(statistics.active_share.values()),
        }

    def tiles(frames: Iterable[npt.NDArray[np.float32]]) -> TiledClip:
        return tiled_clip(path, frames, threads=threads, key_interval=key_interval, cut_detector=detector())

    return Runner(begin=begin, output=model.interface.outputs[0].name, told=told, tiles=tiles)


def open_frames(path: Path, artifact: dict[str, Any], *, threads: int) -> Runner:
    """A file that is run on every frame.

    Args:
        path: the file.
        artifact: its manifest.
        threads: inside one operator.

    Raises:
        EdgeMLError: the file cannot be opened.
    """
    model = Artifact.from_json(artifact, path.parent).at(path)
    session = get_runtime("onnxruntime").open(model, Device("local"), SessionOptions(threads=threads))
    name = only_input(session.inputs).name
    return Runner(
        begin=lambda: lambda frame: session.run({name: frame[np.newaxis]}),
        output=session.outputs[0].name,
        told=None,
        tiles=None,
    )
