"""How many threads are worth starting: the cores that the scheduler will really give this process."""

from __future__ import annotations

import math
import os
from pathlib import Path

from edgeml.runtime.cgroup import cgroup_directories, read_number


def available_threads(root: Path = Path("/")) -> int:
    """Cores this process may use: the lesser of its CPU affinity and its cgroup quota rounded up, at least 1.

    A container of 2 cores on a host of 64 sees 64 in `os.cpu_count()`; with that many threads a model runs many times
    slower, since the quota stops them all for most of each period.

    Args:
        root: the file system's root; tests give another.
    """
    quota = cgroup_cpu_quota(root)
    cores = affinity_cores()
    return max(1, cores if quota is None else min(cores, math.ceil(quota)))


def affinity_cores() -> int:
    """Cores the scheduler may place this process on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cgroup_cpu_quota(root: Path = Path("/")) -> float | None:
    """The least CPU quota of this process's control groups in cores; None where there is none."""
    quotas = [quota for directory in cgroup_directories("cpu", root) if (quota := _quota(directory)) is not None]
    return min(quotas, default=None)


def _quota(directory: Path) -> float | None:
    try:
        quota_us, period_us = (directory / "cpu.max").read_text().split()
        return None if quota_us == "max" else int(quota_us) / int(period_us)
    except (OSError, ValueError, ZeroDivisionError):
        pass
    quota, period = read_number(directory / "cpu.cfs_quota_us"), read_number(directory / "cpu.cfs_period_us")
    return quota / period if quota is not None and quota > 0 and period else None
