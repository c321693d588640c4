"""Runs ONNX files with onnxruntime on this machine's processor."""

from __future__ import annotations

import os
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
from edgeml.runtime.plugin.fusion.load import fused_model
from edgeml.runtime.plugin.registration import register_plugin, uses_own_operators
from edgeml.runtime.threads import available_threads

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnxruntime

_MESSAGE_LIMIT = 400
_LOG_FATAL_ONLY = 4

# onnxruntime's type names -> numpy's.
_DTYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    "tensor(string)": "str",
    **{
        f"tensor({name})": name
        for name in ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bfloat16")
    },
}


class OnnxRuntime:
    """onnxruntime's CPU execution provider."""

    name = "onnxruntime"
    formats = frozenset({"onnx"})

    def is_available(self) -> bool:
        """Whether onnxruntime is installed; does not import it."""
        return find_spec("onnxruntime") is not None

    def open(self, artifact: Artifact, device: Device, options: SessionOptions) -> OnnxRuntimeSession:
        """Load an ONNX file, after the safety check.

        A model with edgeml's own operators runs by the native kernels where they are installed, with binary layers that
        feed each other fused unless the options turn optimizations off; else by the standard operators that the file
        gives for each.

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
        if options.threads is not None and options.threads < 1:
            raise UsageError(f"threads is {options.threads}; it must be at least 1")
        check_onnx_file(artifact.path)
        session, native_kernel = _load(artifact.path, options)
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
        self._inputs = tuple(_spec(node, path) for node in session.get_inputs())
        self._outputs = tuple(_spec(node, path) for node in session.get_outputs())
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
        except _failures() as error:
            raise EdgeMLError(f"onnxruntime failed to run {self._path}: {_reason(error)}") from error

    def close(self) -> None:
        """Free the model."""
        self._session = None


def _load(path: Path, options: SessionOptions) -> tuple[onnxruntime.InferenceSession, str | None]:
    """The model, and the native kernel that runs edgeml's own operators in it."""
    onnxruntime = _import()
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = available_threads() if options.threads is None else options.threads
    settings.inter_op_num_threads = 1
    settings.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    settings.log_severity_level = _LOG_FATAL_ONLY  # what goes wrong arrives as an exception
    if not options.optimize:
        settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    # Threads spin while a run is under way, which is onnxruntime's default and its best latency; between runs they
    # sleep, or an idle model would take the cores of the one being measured.
    settings.add_session_config_entry("session.force_spinning_stop", "1")
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
        return onnxruntime.InferenceSession(source, settings, providers=["CPUExecutionProvider"]), kernel
    except _failures() as error:
        raise EdgeMLError(f"onnxruntime cannot load {path}: {_reason(error)}{absence}") from error


def _import() -> Any:
    """The onnxruntime module, with telemetry off."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read when the library is loaded
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise MissingError("onnxruntime is not installed; install it with: pip install onnxruntime") from error
    onnxruntime.disable_telemetry_events()
    onnxruntime.set_default_logger_severity(_LOG_FATAL_ONLY)
    return onnxruntime


def _failures() -> tuple[type[Exception], ...]:
    """What onnxruntime raises; its own exceptions have no common base but Exception."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    own = [value for value in vars(state).values() if isinstance(value, type) and issubclass(value, Exception)]
    return (*own, RuntimeError, ValueError, TypeError, MemoryError)


def _reason(error: Exception) -> str:
    """The error in one line of bounded length."""
    if isinstance(error, MemoryError) or "bad_alloc" in str(error) or "Failed to allocate memory" in str(error):
        return "it needs more memory than this process may take"
    text = " ".join(str(error).split())
    return text if len(text) <= _MESSAGE_LIMIT else text[:_MESSAGE_LIMIT] + "..."


def _spec(node: Any, path: Path) -> TensorSpec:
    if node.type not in _DTYPES:
        raise UsageError(
            f"{path}: {node.name} is a {node.type}; edgeml runs models whose inputs and outputs are tensors"
        )
    shape = [f"{node.name}_axis{index}" if axis is None else axis for index, axis in enumerate(node.shape)]
    return TensorSpec(node.name, tuple(shape), _DTYPES[node.type])
