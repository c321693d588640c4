"""Gives onnxruntime sessions the native kernels for models that have edgeml's own operators."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import TYPE_CHECKING

from edgeml.ops.domain import DOMAIN
from edgeml.runtime.plugin.library import Plugin, load_plugin

if TYPE_CHECKING:
    import onnxruntime

# Session option that the library reads: onnxruntime tells no plugin how many threads a session has.
_THREADS_OPTION = f"{DOMAIN}.threads"


def uses_own_operators(path: Path) -> bool:
    """Whether an ONNX file names edgeml's domain, as every file with one of its operators does; nothing is parsed."""
    with path.open("rb") as file:
        if file.seek(0, 2) == 0:
            return False
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return content.find(DOMAIN.encode()) >= 0


def register_plugin(settings: onnxruntime.SessionOptions, *, threads: int) -> Plugin:
    """Have sessions with these settings run edgeml's operators by native kernels instead of their function bodies.

    Args:
        settings: changed in place, once.
        threads: that the sessions have for one operator.

    Raises:
        MissingError: edgeml was installed without the kernels, or they are turned off.
        UsageError: EDGEML_KERNEL names a kernel that is not there.
        EdgeMLError: the library cannot be loaded.
    """
    plugin = load_plugin()
    settings.add_session_config_entry(_THREADS_OPTION, str(threads))
    settings.register_custom_ops_library(str(plugin.path))
    return plugin
