"""The backends that run models, by the name users give them."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass

from edgeml.core.artifact import Format
from edgeml.core.errors import MissingError, UsageError
from edgeml.core.session import Runtime
from edgeml.runtime.onnxruntime_session import OnnxRuntime
from edgeml.runtime.tvm.library import import_tvm_ffi
from edgeml.runtime.tvm.session import Tvm


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """One backend, what pip calls it, and how its package is imported."""

    runtime: Runtime
    requirement: str
    import_package: Callable[[], object]


_ENTRIES: dict[str, _Entry] = {
    entry.runtime.name: entry
    for entry in (
        _Entry(
            runtime=OnnxRuntime(),
            requirement="onnxruntime",
            import_package=lambda: importlib.import_module("onnxruntime"),
        ),
        _Entry(runtime=Tvm(), requirement="'edgeml[tvm]'", import_package=import_tvm_ffi),
    )
}


def names() -> tuple[str, ...]:
    """Names of all runtimes, installed or not."""
    return tuple(_ENTRIES)


def get_runtime(name: str) -> Runtime:
    """The runtime of that name.

    Raises:
        UsageError: there is none.
        MissingError: its package is not installed.
    """
    if name not in _ENTRIES:
        raise UsageError(f"unknown runtime {name!r}; allowed: {', '.join(_ENTRIES)}")
    entry = _ENTRIES[name]
    if not entry.runtime.is_available():
        raise MissingError(f"the runtime {name} is not installed; install it with: pip install {entry.requirement}")
    return entry.runtime


def import_package(name: str) -> None:
    """Import the package of the runtime of that name, which takes time that is no model's load time."""
    _ENTRIES[name].import_package()


def runtime_of_format(model_format: Format) -> str:
    """Name of the runtime that opens files of that format."""
    return next(name for name, entry in _ENTRIES.items() if model_format in entry.runtime.formats)
