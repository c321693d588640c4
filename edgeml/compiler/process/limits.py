"""A bound on the memory that a compiling process may take."""

from __future__ import annotations

from pathlib import Path


def limit_memory(limit_bytes: int | None) -> None:
    """Let this process, and each that it starts, hold at most `limit_bytes` of data; None changes nothing.

    Data, and not address space, is what is bounded: LLVM and thread pools reserve far more addresses than they use.
    Where the system has no such limit (Windows, macOS) there is none.
    """
    if limit_bytes is None:
        return
    try:
        import resource
    except ModuleNotFoundError:
        return
    if not hasattr(resource, "RLIMIT_DATA") or not Path("/proc/self").is_dir():
        return
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    bound = limit_bytes if hard == resource.RLIM_INFINITY else min(limit_bytes, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (bound, hard))
