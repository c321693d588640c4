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
# Blocks of weights and of a runtime's own pools are as large as this; bodies of requests are seldom.
_MAPPED_BYTES = 1 << 20
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8  # malloc.h


def share_arenas() -> None:
    """Let all threads of this process share two arenas, and give large blocks pages of their own.

    glibc would let the size of such blocks grow with what is freed, up to 32 MiB, and models would leave holes again.
    What the user has set (MALLOC_ARENA_MAX, MALLOC_MMAP_THRESHOLD_) stays. To be called before threads are started.
    Requests are none the slower: what runs them keeps its own memory.
    """
    mallopt = _of_libc("mallopt")
    for variable, parameter, value in (
        ("MALLOC_ARENA_MAX", _M_ARENA_MAX, _ARENAS),
        ("MALLOC_MMAP_THRESHOLD_", _M_MMAP_THRESHOLD, _MAPPED_BYTES),
    ):
        if mallopt is not None and variable not in os.environ:
            mallopt(ctypes.c_int(parameter), ctypes.c_int(value))


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
