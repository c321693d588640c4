"""Notices when the machine was slowed or shared during a run: heat, quotas, other programs, a busy hypervisor."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeml.edge_bench.conditions.environment import frequency_mhz
from edgeml.runtime.cgroup import cgroup_directories, read_number

OTHERS_LIMIT = 0.10
STEAL_LIMIT = 0.02
QUOTA_LIMIT = 0.02
FREQUENCY_DROP_LIMIT = 0.05


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """Counters of the machine at one moment; they only ever grow, so two readings tell what happened between.

    Attributes:
        time_s: monotonic clock.
        busy_s: processor time all programs took on all cores; None where it is not told.
        own_s: processor time this process and its ended children took.
        stolen_s: processor time the hypervisor gave to others; None where it is not told.
        quota_stops_s: time this process's control groups were stopped for having used up their quota.
        heat_stops: times a core slowed down for heat; None where it is not told.
    """

    time_s: float
    busy_s: float | None
    own_s: float
    stolen_s: float | None
    quota_stops_s: float
    heat_stops: int | None


def read_conditions(root: Path = Path("/")) -> Conditions:
    """The counters now.

    Args:
        root: the file system's root; tests give another.
    """
    times = os.times()
    busy_s, stolen_s = _processor_times(root)
    return Conditions(
        time_s=time.monotonic(),
        busy_s=busy_s,
        own_s=times.user + times.system + times.children_user + times.children_system,
        stolen_s=stolen_s,
        quota_stops_s=sum(_quota_stops(directory) for directory in cgroup_directories("cpu", root)[:1]),
        heat_stops=_heat_stops(root),
    )


def condition_warnings(
    before: Conditions, after: Conditions, *, frequencies_mhz: Sequence[float] = ()
) -> tuple[str, ...]:
    """What disturbed a run between two readings, a sentence each; empty where nothing did.

    The load average is no witness: it still tells of what ended before the run, such as the user's own training.

    Args:
        before: counters at the start.
        after: counters after every worker has ended, so that `own_s` holds their time.
        frequencies_mhz: frequency of the fastest core under load, in the order read.
    """
    elapsed_s = max(after.time_s - before.time_s, 1e-3)
    found = []
    if before.busy_s is not None and after.busy_s is not None:
        others = (after.busy_s - before.busy_s - (after.own_s - before.own_s)) / elapsed_s
        if others > OTHERS_LIMIT:
            found.append(f"noisy: other programs took {others:.0%} of a core during the run")
    if before.stolen_s is not None and after.stolen_s is not None:
        stolen = (after.stolen_s - before.stolen_s) / elapsed_s
        if stolen > STEAL_LIMIT:
            found.append(f"noisy: the hypervisor took away {stolen:.0%} of a core during the run")
    stopped = (after.quota_stops_s - before.quota_stops_s) / elapsed_s
    if stopped > QUOTA_LIMIT:
        found.append(f"throttled: the control group's CPU quota stopped the run for {stopped:.0%} of its time")
    if before.heat_stops is not None and after.heat_stops is not None and after.heat_stops > before.heat_stops:
        found.append(f"throttled: cores slowed down for heat {after.heat_stops - before.heat_stops} times")
    if drop := _frequency_drop(frequencies_mhz):
        found.append(f"throttled: the fastest core's frequency fell by {drop:.0%} during the run")
    return tuple(found)


def fastest_core_mhz(root: Path = Path("/")) -> float | None:
    """Frequency of the fastest core in MHz, which is one at work; None where it is not told."""
    return max(frequency_mhz(root), default=None)


def _frequency_drop(frequencies_mhz: Sequence[float]) -> float:
    """Relative fall from the first third of the readings to the last; 0 where it is within the limit."""
    third = len(frequencies_mhz) // 3
    if third == 0:
        return 0.0
    first, last = (sorted(part)[third // 2] for part in (frequencies_mhz[:third], frequencies_mhz[-third:]))
    drop = 1 - last / first if first > 0 else 0.0
    return drop if drop > FREQUENCY_DROP_LIMIT else 0.0


def _processor_times(root: Path) -> tuple[float | None, float | None]:
    """Busy and stolen seconds of all cores from /proc/stat."""
    try:
        fields = (root / "proc/stat").read_text().splitlines()[0].split()[1:]
        user, nice, system, _, _, irq, softirq, steal = (int(field) for field in fields[:8])
    except (OSError, ValueError, IndexError):
        return None, None
    ticks = os.sysconf("SC_CLK_TCK")
    return (user + nice + system + irq + softirq) / ticks, steal / ticks


def _quota_stops(directory: Path) -> float:
    try:
        lines = (directory / "cpu.stat").read_text().splitlines()
    except OSError:
        return 0.0
    values = dict(line.split()[:2] for line in lines if len(line.split()) >= 2)
    # cgroup v2 counts microseconds, v1 nanoseconds.
    return int(values.get("throttled_usec", 0)) / 1e6 + int(values.get("throttled_time", 0)) / 1e9


def _heat_stops(root: Path) -> int | None:
    counters = (root / "sys/devices/system/cpu").glob("cpu[0-9]*/thermal_throttle/core_throttle_count")
    found = [count for counter in counters if (count := read_number(counter)) is not None]
    return sum(found) if found else None
