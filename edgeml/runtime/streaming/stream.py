"""One video going through a network: decides which frames are key frames and keeps the states between frames."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgeml.core.errors import EdgeMLError, UsageError
from edgeml.core.tensor_spec import TensorSpec
from edgeml.runtime.onnxruntime_loading import failures, reason
from edgeml.runtime.streaming.buffers import StateBuffers
from edgeml.runtime.streaming.cut_detector import CutDetector
from edgeml.runtime.streaming.frame import FrameStatistics, Reason, StreamFrame

if TYPE_CHECKING:
    from edgeml.runtime.streaming.model import StreamingModel


class Stream:
    """The frames of one video in order; made by `StreamingModel.stream`.

    A stream belongs to one thread at a time; several streams of one model may run at once.
    """

    def __init__(
        self, model: StreamingModel, *, key_interval: int | None, cut_detector: CutDetector | None = None
    ) -> None:
        self._key_interval = key_interval
        self._cut_detector = cut_detector
        self._pending: Reason | None = "first"  # why the next frame is a key frame, whatever it shows
        self._since_key = 0
        self._take(model)

    @property
    def states(self) -> dict[str, npt.NDArray[Any]]:
        """The states by name; views of the stream's memory, which the next frame overwrites."""
        return self._buffers.arrays

    @property
    def memory_bytes(self) -> int:
        """Memory of the stream's states."""
        return self._model.stream_bytes

    def step(self, frame: npt.NDArray[np.float32]) -> StreamFrame:
        """The network's outputs for the next frame.

        Args:
            frame: float32 (channels, height, width), normalized as the network wants it.

        Raises:
            UsageError: the frame is of another size or dtype than the network takes.
            EdgeMLError: onnxruntime failed, or the model is closed; the next frame will be a key frame.
        """
        start = time.perf_counter()
        self._check(frame)
        cause = self._cause(frame)
        graph = self._model.residual if cause is None else self._model.key
        interface = self._model.interface
        outputs = {spec.name: _empty(spec) for spec in interface.outputs}
        activity = np.zeros(0, np.float32) if interface.activity is None else _empty(interface.activity)
        made = outputs if interface.activity is None else {**outputs, interface.activity.name: activity}
        self._pending = "reset"  # holds where the run fails, which may leave states half overwritten
        try:
            self._buffers.run(graph, {interface.frame.name: np.ascontiguousarray(frame[np.newaxis])}, made)
        except failures() as error:
            raise EdgeMLError(f"onnxruntime failed to run {graph.path}: {reason(error)}") from error
        self._pending = None
        self._since_key = 1 if cause is not None else self._since_key + 1
        shares = activity.tolist()
        bit_operations = graph.metadata.bit_operations(shares)
        return StreamFrame(
            outputs=outputs,
            statistics=FrameStatistics(
                kind="residual" if cause is None else "key",
                reason=cause,
                time_s=time.perf_counter() - start,
                bit_operations=bit_operations,
                active_share=dict(zip(graph.metadata.gated_steps, shares, strict=True)),
            ),
        )

    def reset(self, model: StreamingModel | None = None) -> None:
        """Make the next frame a key frame, as after a jump in the video.

        Args:
            model: what runs the next frames, where their size changes; None keeps the model.

        Raises:
            EdgeMLError: the model is closed.
        """
        if model is not None and model is not self._model:
            self._take(model)
        self._pending = "reset"

    def _take(self, model: StreamingModel) -> None:
        interface = model.interface
        assert model.key is not model.residual  # raises where the model is closed
        self._model = model
        self._buffers = StateBuffers(interface.states, interface.successors, in_place=model.in_place)

    def _check(self, frame: npt.NDArray[np.float32]) -> None:
        expected = self._model.interface.frame_shape
        if frame.shape != expected:
            raise UsageError(
                f"the frame has the shape {frame.shape}; {self._model.name} takes (channels, height, width) = "
                f"{expected}: convert the network for the new size and reset the stream on it, or resize the frame"
            )
        if frame.dtype != np.float32:
            raise UsageError(f"the frame is {frame.dtype}; {self._model.name} takes float32: convert it with .astype")

    def _cause(self, frame: npt.NDArray[np.float32]) -> Reason | None:
        """Why this frame is a key frame; None where it is not."""
        cut = self._cut_detector is not None and self._cut_detector.is_cut(frame)  # it sees every frame
        if self._pending is not None:
            return self._pending
        if cut:
            return "cut"
        due = self._key_interval is not None and self._since_key >= self._key_interval
        return "interval" if due else None


def _empty(spec: TensorSpec) -> npt.NDArray[Any]:
    return np.empty(tuple(int(axis) for axis in spec.shape), np.dtype(spec.dtype))
