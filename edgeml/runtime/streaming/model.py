"""A network for video, loaded once and shared by all its streams."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from edgeml.core.errors import EdgeMLError, UsageError
from edgeml.core.session import SessionOptions
from edgeml.core.tensor_spec import TensorSpec
from edgeml.runtime.streaming.cut_detector import CutDetector
from edgeml.runtime.streaming.graph_session import GraphSession, open_graph
from edgeml.runtime.streaming.metadata import Mode, State, check_key_interval
from edgeml.runtime.streaming.stream import Stream
from edgeml.runtime.streaming.video_files import video_files

ACTIVITY = "activity"
FILES_OWN: Literal["file"] = "file"
"""The key interval that the files themselves name."""


@dataclass(frozen=True, kw_only=True)
class Interface:
    """What both files of a pair take and give.

    Attributes:
        frame: the input of a frame, float32 (1, channels, height, width).
        states: inputs that hold the states, in order.
        successors: the output that follows each state.
        outputs: those of the network.
        activity: the output with the share of changed pixels of each gated step; None where no step is gated and the
            files have none.
    """

    frame: TensorSpec
    states: tuple[TensorSpec, ...]
    successors: tuple[str, ...]
    outputs: tuple[TensorSpec, ...]
    activity: TensorSpec | None

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of a frame."""
        _, channels, height, width = (int(axis) for axis in self.frame.shape)
        return channels, height, width

    @property
    def state_bytes(self) -> int:
        """Size of one set of states."""
        return sum(math.prod(map(int, spec.shape)) * np.dtype(spec.dtype).itemsize for spec in self.states)


class StreamingModel:
    """A pair of files, NAME.key.onnx and NAME.residual.onnx, each loaded once.

    Any number of streams may share it, each in a thread of its own.

    Attributes:
        name: what the files' names begin with.
        key: the graph that computes whole frames.
        residual: the graph that computes what changed.
        interface: what both take and give.
    """

    def __init__(self, name: str, key: GraphSession, residual: GraphSession) -> None:
        self.name = name
        self.interface = _interface(key, residual)
        self._key: GraphSession | None = key
        self._residual: GraphSession | None = residual
        self._metadata = residual.metadata
        self.native_kernel = residual.native_kernel
        self.in_place = key.in_place and residual.in_place
        self.size_bytes = sum(graph.path.stat().st_size for graph in (key, residual))

    @classmethod
    def open(cls, path: Path, options: SessionOptions | None = None) -> StreamingModel:
        """Load the pair that `path`, either of its files, belongs to, after the safety check.

        Raises:
            UntrustedFileError: a file breaks a safety limit.
            UsageError: a file is missing, or the two are no pair.
            MissingError: onnxruntime is not installed.
            EdgeMLError: onnxruntime failed to load a file.
        """
        files = video_files(path)
        for file in (files.key, files.residual):
            if not file.is_file():
                raise UsageError(f"there is no file {file}; a network for video is the pair of it and {path.name}")
        options = SessionOptions() if options is None else options
        return cls(files.name, open_graph(files.key, "key", options), open_graph(files.residual, "residual", options))

    @property
    def key(self) -> GraphSession:
        """The graph that computes whole frames.

        Raises:
            EdgeMLError: the model is closed.
        """
        return self._opened(self._key)

    @property
    def residual(self) -> GraphSession:
        """The graph that computes what changed.

        Raises:
            EdgeMLError: the model is closed.
        """
        return self._opened(self._residual)

    @property
    def mode(self) -> Mode:
        """What a residual frame is."""
        return self._metadata.mode

    @property
    def key_interval(self) -> int | None:
        """Frames from one key frame to the next, as the files say; None for no limit."""
        return self._metadata.key_interval

    @property
    def gated_steps(self) -> tuple[str, ...]:
        """Steps whose share of changed pixels each frame's statistics tell."""
        return self._metadata.gated_steps

    @property
    def states(self) -> tuple[State, ...]:
        """What one frame leaves to the next."""
        return self._metadata.states

    @property
    def macs(self) -> int:
        """Multiplications and additions of a whole frame."""
        return sum(self._metadata.macs.values())

    @property
    def stream_bytes(self) -> int:
        """Memory of one stream's states: one set of them where they are updated in place, else two."""
        return self.interface.state_bytes * (1 if self.in_place else 2)

    def stream(
        self, *, key_interval: int | Literal["file"] | None = FILES_OWN, cut_detector: CutDetector | None = None
    ) -> Stream:
        """A new stream, whose first frame will be a key frame.

        Args:
            key_interval: frames from one key frame to the next; None for no limit, "file" for what the files say.
            cut_detector: tells which frames begin a new scene and are made key frames; it belongs to this stream.

        Raises:
            UsageError: the interval is below 1.
            EdgeMLError: the model is closed.
        """
        interval = self.key_interval if key_interval == FILES_OWN else key_interval
        if interval is not None:
            check_key_interval(interval)
        return Stream(self, key_interval=interval, cut_detector=cut_detector)

    def close(self) -> None:
        """Free the model; its streams give no frames afterwards."""
        self._key = self._residual = None

    def _opened(self, graph: GraphSession | None) -> GraphSession:
        if graph is None:
            raise EdgeMLError(f"the network {self.name} is closed")
        return graph


def _interface(key: GraphSession, residual: GraphSession) -> Interface:
    """The interface of a pair.

    Raises:
        UsageError: the two files differ in it, or it is none that a stream can run.
    """
    for what, ours, theirs in (
        ("inputs", key.inputs, residual.inputs),
        ("outputs", key.outputs, residual.outputs),
        ("mode", key.metadata.mode, residual.metadata.mode),
        ("states", key.metadata.states, residual.metadata.states),
        ("gated steps", key.metadata.gated_steps, residual.metadata.gated_steps),
    ):
        if ours != theirs:
            raise UsageError(f"{key.path} and {residual.path} are no pair: their {what} differ; convert them again")
    path, states = residual.path, residual.metadata.states
    inputs = {spec.name: spec for spec in residual.inputs}
    outputs = {spec.name: spec for spec in residual.outputs}
    for spec in (*residual.inputs, *residual.outputs):
        if not all(isinstance(axis, int) for axis in spec.shape):
            raise UsageError(f"{path}: {spec.name} has the shape {spec.shape}; a network for video has fixed sizes")
    for state in states:
        if state.name not in inputs or state.next not in outputs:
            raise UsageError(f"{path}: the graph lacks the state {state.name} or its successor {state.next}")
        before, after = inputs[state.name], outputs[state.next]
        if (before.shape, before.dtype) != (after.shape, after.dtype):
            raise UsageError(
                f"{path}: {state.name} is {before.dtype} {before.shape}, its successor {state.next} {after.dtype} "
                f"{after.shape}; they must be alike"
            )
    fed = [spec for spec in residual.inputs if spec.name not in {state.name for state in states}]
    made = [spec for spec in residual.outputs if spec.name not in {state.next for state in states}]
    if len(fed) != 1 or fed[0].dtype != "float32" or len(fed[0].shape) != 4 or fed[0].shape[0] != 1:
        raise UsageError(f"{path}: beside the states it must take one frame, float32 (1, channels, height, width)")
    activity = next((spec for spec in made if spec.name == ACTIVITY), None)
    steps = len(residual.metadata.gated_steps)
    if (activity is None and steps) or (activity is not None and activity.shape != (steps,)):
        raise UsageError(f"{path}: its output {ACTIVITY} must have one entry for each of the {steps} gated steps")
    return Interface(
        frame=fed[0],
        states=tuple(inputs[state.name] for state in states),
        successors=tuple(state.next for state in states),
        outputs=tuple(spec for spec in made if spec.name != ACTIVITY),
        activity=activity,
    )
