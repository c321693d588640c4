"""Runs ONNX files with onnxruntime on this machine's processor."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeml.core.artifact import Artifact
from edgeml.core.device import Device
from edgeml.core.errors import EdgeMLError, MissingError, UsageError
from edgeml.core.onnx_guard import check_onnx_file
from edgeml.core.session import Feeds, SessionOptions
from edgeml.core.tensor_spec import TensorSpec
from edgeml.runtime.feeds import check_feeds
from edgeml.runtime.onnxruntime_loading import create_session, failures, reason, session_settings, tensor_spec
from edgeml.runtime.plugin.fusion.load import fused_model
from edgeml.runtime.plugin.registration import register_plugin, uses_own_operators

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnxruntime


class OnnxRuntime:
    """onnxruntime's CPU execution provider."""

    name = "onnxruntime"
    formats = frozenset({"onnx"})

    def is_available(self) -> bool:
        """Whether onnxruntime is installed; does not import it."""
        return find_spec("onnxruntime") is not None

    def open(
        self,
        artifact: Artifact,
        device: Device,
        options: SessionOptions,
        *,
        configure: Callable[[onnxruntime.SessionOptions], None] | None = None,
    ) -> OnnxRuntimeSession:
        """Load an ONNX file, after the safety check.

        A model with edgeml's own operators runs by the native kernels where they are installed, with binary layers that
        feed each other fused unless the options turn optimizations off; else by the standard operators that the file
        gives for each.

        Args:
            artifact: the file.
            device: this machine.
            options: what a user may choose.
            configure: changes onnxruntime's own settings in place, which is a profiler's way in.

        Raises:
            UntrustedFileError: the file breaks a safety limit.
            UsageError: the artifact is no ONNX file, or its inputs are no tensors.
            MissingError: onnxruntime is not installed, or the device is not this machine.
            EdgeMLError: onnxruntime failed to load it.
        """
        if device.scheme != "local":
            raise MissingError(f"device {device} cannot be reached: this edgeml runs models on the device 'local' only")
        if artifact.format not in self.formats:
            raise UsageError(f"{artifact.path} has the format {artifact.format}; onnxruntime opens onnx files")
        check_onnx_file(artifact.path)
        session, native_kernel = _load(artifact.path, options, configure)
        return OnnxRuntimeSession(session, artifact.path, native_kernel)


class OnnxRuntimeSession:
    """One ONNX file loaded by onnxruntime; a Session.

    Attributes:
        native_kernel: the instruction set that runs edgeml's own operators ("avx2"); None where the model has none, or
            they run as standard operators.
    """

    def __init__(self, session: onnxruntime.InferenceSession, path: Path, native_kernel: str | None = None) -> None:
        self._session: onnxruntime.InferenceSession | None = session
        self._path = path
        self.native_kernel = native_kernel
        self._inputs = tuple(tensor_spec(node, path) for node in session.get_inputs())
        self._outputs = tuple(tensor_spec(node, path) for node in session.get_outputs())
        self._output_names = tuple(spec.name for spec in self._outputs)

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The model's inputs, as onnxruntime sees them."""
        return self._inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The model's outputs, as onnxruntime sees them."""
        return self._outputs

    def run(self, feeds: Feeds) -> dict[str, npt.NDArray[Any]]:
        """Outputs by name for one batch of inputs by name.

        Raises:
            UsageError: the feeds do not fit the model's inputs.
            EdgeMLError: onnxruntime failed to run the model, or the session is closed.
        """
        if self._session is None:
            raise EdgeMLError(f"the session of {self._path} is closed")
        check_feeds(feeds, self._inputs)
        try:
            return dict(zip(self._output_names, self._session.run(None, feeds), strict=True))
        except failures() as error:
            raise EdgeMLError(f"onnxruntime failed to run {self._path}: {reason(error)}") from error

    def end_profiling(self) -> Path:
        """The trace of all runs so far, where onnxruntime was configured to write one.

        Raises:
            EdgeMLError: the session is closed.
        """
        if self._session is None:
            raise EdgeMLError(f"the session of {self._path} is closed")
        return Path(self._session.end_profiling())

    def close(self) -> None:
        """Free the model."""
        self._session = None


def _load(
    path: Path, options: SessionOptions, configure: Callable[[onnxruntime.SessionOptions], None] | None
) -> tuple[onnxruntime.InferenceSession, str | None]:
    """The model, and the native kernel that runs edgeml's own operators in it."""
    settings = session_settings(options)
    if configure is not None:
        configure(settings)
    kernel, absence = None, ""
    source: str | bytes = str(path)
    try:
        if uses_own_operators(path):
            try:
                kernel = register_plugin(settings, threads=settings.intra_op_num_threads).kernel
            except MissingError as error:
                absence = f" ({error})"
            else:
                source = (fused_model(path) if options.optimize else None) or source
    except failures() as error:
        raise EdgeMLError(f"onnxruntime cannot load {path}: {reason(error)}") from error
    return create_session(source, settings, path, remark=absence), kernel
