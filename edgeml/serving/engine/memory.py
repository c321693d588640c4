"""Keeps a server's memory at what its models need, however often they are replaced.

glibc keeps what is freed in an arena for each thread, full of holes, and models are loaded, run and freed by many
threads: left alone, a server grows by some megabytes with each model that is replaced. Other C libraries are let alone.
"""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Any

_ARENAS = 2
_M_ARENA_MAX = -8  # malloc.h
_ASKED_FOR = "MALLOC_ARENA_MAX"


def share_arenas() -> None:
    """Let all threads of this process share two arenas, where MALLOC_ARENA_MAX does not say otherwise.

    To be called before threads are started. Requests are none the slower: what runs them keeps its own memory.
    """
    mallopt = _of_libc("mallopt")
    if mallopt is not None and _ASKED_FOR not in os.environ:
        mallopt(ctypes.c_int(_M_ARENA_MAX), ctypes.c_int(_ARENAS))


def give_back_freed() -> None:
    """Let the system have what models that are gone have left; takes milliseconds, on any thread."""
    trim = _of_libc("malloc_trim")
    if trim is not None:
        trim(ctypes.c_size_t(0))


def _of_libc(function: str) -> Any:
    """A function that glibc has; None elsewhere."""
    if sys.platform != "linux":
        return None
    process = ctypes.CDLL(None)
    return getattr(process, function, None) if hasattr(process, "gnu_get_libc_version") else None
