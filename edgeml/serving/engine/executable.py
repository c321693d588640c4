"""A model loaded for serving: by a Session, or as a stream for each sequence."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from edgeml.core.device import LOCAL
from edgeml.core.errors import EdgeMLError, UsageError
from edgeml.core.session import Session, SessionOptions
from edgeml.core.tensor_spec import TensorSpec
from edgeml.runtime.feeds import check_feeds
from edgeml.serving.errors import FailedError, InvalidRequestError
from edgeml.serving.inference import Sequence, Tensor

if TYPE_CHECKING:
    from edgeml.runtime.streaming.model import StreamingModel
    from edgeml.runtime.streaming.stream import Stream

Tensors = dict[str, Tensor]


class Executable(Protocol):
    """What instances run. `run` is called on their threads, several at once; everything else on the event loop.

    Attributes:
        platform: as the protocol names it.
        inputs: of the model.
        outputs: of the model.
        stateful: whether each run belongs to a sequence.
    """

    platform: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    stateful: bool

    def run(self, inputs: Tensors, sequence: Sequence | None, instance: int) -> Tensors:
        """Outputs by name.

        Args:
            inputs: by name, checked against the model's.
            sequence: which stream the inputs belong to, for a stateful model.
            instance: index of the thread that runs it.

        Raises:
            InvalidRequestError: the values cannot be run.
            FailedError: the model failed.
        """
        ...

    def end(self, sequence: Sequence) -> None:
        """Free a sequence's states."""
        ...

    def close(self) -> None:
        """Free the model."""
        ...


class SessionExecutable:
    """A model without state.

    An onnxruntime session takes runs of several threads at once, so the instances share it and its weights; a compiled
    library keeps its values in place, so each instance has its own.
    """

    stateful = False

    def __init__(self, sessions: list[Session], platform: str) -> None:
        self.platform = platform
        self._sessions = sessions
        self.inputs = sessions[0].inputs
        self.outputs = sessions[0].outputs
        self._text = tuple(spec.name for spec in self.inputs if spec.dtype == "str")

    def run(self, inputs: Tensors, sequence: Sequence | None, instance: int) -> Tensors:  # noqa: ARG002 (no state)
        """See `Executable`."""
        session = self._sessions[instance % len(self._sessions)]
        for name in self._text:
            inputs = inputs | {name: _text(name, inputs[name])}
        try:
            return session.run(inputs)
        except UsageError as error:
            raise InvalidRequestError(str(error)) from error
        except EdgeMLError as error:
            raise FailedError(str(error)) from error

    def end(self, sequence: Sequence) -> None:
        """See `Executable`."""

    def close(self) -> None:
        """See `Executable`."""
        for session in self._sessions:
            session.close()


class StreamExecutable:
    """A network for video: each sequence is a stream with its own states, and each request one frame of it."""

    stateful = True
    platform = "onnx_onnxv1"

    def __init__(self, model: StreamingModel) -> None:
        self._model = model
        self._streams: dict[int | str, Stream] = {}
        self.inputs: tuple[TensorSpec, ...] = (model.interface.frame,)
        self.outputs = model.interface.outputs

    def run(self, inputs: Tensors, sequence: Sequence | None, instance: int) -> Tensors:  # noqa: ARG002 (any thread)
        """See `Executable`."""
        assert sequence is not None
        if sequence.start or sequence.id not in self._streams:
            self._streams[sequence.id] = self._model.stream()
        (frame,) = inputs.values()
        try:
            return dict(self._streams[sequence.id].step(frame[0]).outputs)
        except UsageError as error:
            raise InvalidRequestError(str(error)) from error
        except EdgeMLError as error:
            raise FailedError(str(error)) from error

    def end(self, sequence: Sequence) -> None:
        """See `Executable`."""
        self._streams.pop(sequence.id, None)

    def close(self) -> None:
        """See `Executable`."""
        self._streams.clear()
        self._model.close()


def open_executable(path: Path, *, instances: int, threads: int) -> Executable:
    """Load the model in a file: an ONNX file, a compiled library, or the NAME.residual.onnx of a network for video.

    Raises:
        EdgeMLError: as `open_artifact` and `Runtime.open` say.
    """
    from edgeml.runtime.onnx_file import open_artifact
    from edgeml.runtime.registry import get_runtime, runtime_of_format

    options = SessionOptions(threads=threads)
    if path.name.endswith((".residual.onnx", ".key.onnx")):
        from edgeml.runtime.streaming.model import StreamingModel

        return StreamExecutable(StreamingModel.open(path, options))
    artifact = open_artifact(path)
    runtime = get_runtime(runtime_of_format(artifact.format))
    if artifact.format == "onnx":
        return SessionExecutable([runtime.open(artifact, LOCAL, options)], "onnx_onnxv1")
    return SessionExecutable([runtime.open(artifact, LOCAL, options) for _ in range(instances)], "tvm_library")


def check_inputs(inputs: Tensors, specs: tuple[TensorSpec, ...]) -> None:
    """Hold a request's tensors to the model's inputs.

    Raises:
        InvalidRequestError: they differ.
    """
    try:
        check_feeds(inputs, specs)
    except UsageError as error:
        raise InvalidRequestError(str(error)) from error


def _text(name: str, tensor: Tensor) -> Tensor:
    """BYTES as the strings that models take."""
    found = np.empty(tensor.shape, dtype=object)
    try:
        found.reshape(-1)[:] = [bytes(element).decode() for element in tensor.reshape(-1)]
    except UnicodeDecodeError as error:
        raise InvalidRequestError(f"input {name} takes text in UTF-8: {error}") from error
    return found
