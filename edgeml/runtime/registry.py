"""The backends that run models, by the name users give them."""

from __future__ import annotations

from edgeml.core.errors import MissingError, UsageError
from edgeml.core.session import Runtime
from edgeml.runtime.onnxruntime_session import OnnxRuntime

_RUNTIMES: dict[str, Runtime] = {runtime.name: runtime for runtime in (OnnxRuntime(),)}


def names() -> tuple[str, ...]:
    """Names of all runtimes, installed or not."""
    return tuple(_RUNTIMES)


def get_runtime(name: str) -> Runtime:
    """The runtime of that name.

    Raises:
        UsageError: there is none.
        MissingError: its package is not installed.
    """
    if name not in _RUNTIMES:
        raise UsageError(f"unknown runtime {name!r}; allowed: {', '.join(_RUNTIMES)}")
    runtime = _RUNTIMES[name]
    if not runtime.is_available():
        raise MissingError(f"the runtime {name} is not installed; install it with: pip install {name}")
    return runtime
