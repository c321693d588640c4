"""How much memory a process has taken, and a bound on how much it may take."""

from __future__ import annotations

import sys
from pathlib import Path

from edgeml.edge_bench.conditions.environment import available_memory_bytes

SHARE_OF_AVAILABLE = 0.9


def peak_memory_bytes() -> int:
    """The highest resident memory this process has had, in bytes; 0 where the system does not tell.

    Linux keeps it in VmHWM. `getrusage` is not used there: a started process begins with the peak of the one that
    started it (2 GB for a bare interpreter started by a program of 2 GB).
    """
    return _status("VmHWM") or _getrusage_peak()


def bound_memory() -> int | None:
    """Let this process take at most 90% of the memory that is available now; returns the bound on its data in bytes.

    A model that asks for more then fails with an error in this process, instead of having the kernel end one of the
    machine's programs. None where the system has no such limit (Windows) or does not say what is available.
    """
    available = available_memory_bytes()
    try:
        import resource
    except ModuleNotFoundError:
        return None
    if available is None or not hasattr(resource, "RLIMIT_DATA"):
        return None
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    bound = _status("VmData") + int(SHARE_OF_AVAILABLE * available)
    if hard != resource.RLIM_INFINITY:
        bound = min(bound, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (bound, hard))
    return bound


def _status(name: str) -> int:
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith(f"{name}:")), 0)


def _getrusage_peak() -> int:
    try:
        import resource
    except ModuleNotFoundError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak << 10
