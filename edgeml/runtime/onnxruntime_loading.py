"""How edgeml sets onnxruntime up, the same for every session: threads, plugin, no telemetry, errors in one line."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeml.core.errors import EdgeMLError, MissingError, UsageError
from edgeml.core.session import SessionOptions
from edgeml.core.tensor_spec import TensorSpec
from edgeml.runtime.threads import available_threads

if TYPE_CHECKING:
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


def import_onnxruntime() -> Any:
    """The onnxruntime module, with telemetry off.

    Raises:
        MissingError: it is not installed.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read when the library is loaded
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise MissingError("onnxruntime is not installed; install it with: pip install onnxruntime") from error
    onnxruntime.disable_telemetry_events()
    onnxruntime.set_default_logger_severity(_LOG_FATAL_ONLY)
    return onnxruntime


def session_settings(options: SessionOptions) -> onnxruntime.SessionOptions:
    """Settings of onnxruntime for one session, without the plugin.

    Raises:
        UsageError: the number of threads is below 1.
        MissingError: onnxruntime is not installed.
    """
    if options.threads is not None and options.threads < 1:
        raise UsageError(f"threads is {options.threads}; it must be at least 1")
    onnxruntime = import_onnxruntime()
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
    return settings


def create_session(
    source: str | bytes, settings: onnxruntime.SessionOptions, path: Path, *, remark: str = ""
) -> onnxruntime.InferenceSession:
    """A session on this machine's processor.

    Args:
        source: the file's name, or a model in memory.
        settings: of `session_settings`.
        path: the file, for messages.
        remark: said at the end where loading fails.

    Raises:
        EdgeMLError: onnxruntime failed to load it.
    """
    onnxruntime = import_onnxruntime()
    try:
        return onnxruntime.InferenceSession(source, settings, providers=["CPUExecutionProvider"])
    except failures() as error:
        raise EdgeMLError(f"onnxruntime cannot load {path}: {reason(error)}{remark}") from error


def failures() -> tuple[type[Exception], ...]:
    """What onnxruntime raises; its own exceptions have no common base but Exception."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    own = [value for value in vars(state).values() if isinstance(value, type) and issubclass(value, Exception)]
    return (*own, RuntimeError, ValueError, TypeError, MemoryError)


def reason(error: Exception) -> str:
    """The error in one line of bounded length."""
    if isinstance(error, MemoryError) or "bad_alloc" in str(error) or "Failed to allocate memory" in str(error):
        return "it needs more memory than this process may take"
    text = " ".join(str(error).split())
    return text if len(text) <= _MESSAGE_LIMIT else text[:_MESSAGE_LIMIT] + "..."


def tensor_spec(node: Any, path: Path) -> TensorSpec:
    """An input or output of a session, as onnxruntime sees it.

    Raises:
        UsageError: it is no tensor.
    """
    if node.type not in _DTYPES:
        raise UsageError(
            f"{path}: {node.name} is a {node.type}; edgeml runs models whose inputs and outputs are tensors"
        )
    shape = [f"{node.name}_axis{index}" if axis is None else axis for index, axis in enumerate(node.shape)]
    return TensorSpec(node.name, tuple(shape), _DTYPES[node.type])
