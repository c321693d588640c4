"""Measures the energy of one run, on devices that have a counter or a sensor for it."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from edgeml.core.bench_profile import Energy
from edgeml.core.errors import EdgeMLError, UsageError
from edgeml.edge_bench.energy.meter import EnergyMeter
from edgeml.edge_bench.energy.sensors import find_sensor

SEGMENTS = 10
"""Parts that the time is divided into, each with a figure of its own; their spread gives the interval."""

IDLE_SHARE = 0.25
LEAST_IDLE_S = 1.0

# Student's t for 95% and SEGMENTS - 1 degrees of freedom: boards need no scipy for this one number.
_STUDENT = 2.262157


def measure_energy(
    run: Callable[[], object],
    seconds: float,
    *,
    root: Path = Path("/"),
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Energy | None:
    """Energy of one call of `run`, or None where the device has nothing that tells (see `sensors`).

    First the device is left idle for a quarter of the time, at least a second. Then `run` is called over and over for
    `seconds`, in 10 segments; the interval is Student's t over the segments' figures. What other programs take in that
    time is measured with it, so the device should have nothing else to do.

    Args:
        run: one inference.
        seconds: time under load; at least 10 calls are made however long they take.
        root: the file system's root; tests give another.
        sleep: waits while the device is idle; tests give another.
        clock: monotonic, in seconds; tests give another.

    Raises:
        UsageError: `seconds` is not above 0.
        EdgeMLError: the sensor cannot be read any more.
    """
    if not (math.isfinite(seconds) and seconds > 0):
        raise UsageError(f"seconds is {seconds}; it must be above 0")
    sensor = find_sensor(root)
    if sensor is None:
        return None
    with EnergyMeter(sensor, clock) as meter:
        idle_watts = _idle_watts(meter, max(LEAST_IDLE_S, IDLE_SHARE * seconds), sleep)
        joules, durations_s, loaded_s = _loaded(meter, run, seconds / SEGMENTS, clock)
    if sum(joules) <= 0:
        raise EdgeMLError(f"{sensor.name} did not move within {loaded_s:.1f} s of load: it measures nothing here")
    mean = statistics.mean(joules)
    half_width = _STUDENT * statistics.stdev(joules) / math.sqrt(SEGMENTS)
    return Energy(
        source=sensor.name,
        joules_per_run=mean,
        ci95=(max(0.0, mean - half_width), mean + half_width),
        net_joules_per_run=mean - idle_watts * statistics.mean(durations_s),
        idle_watts=idle_watts,
        seconds=loaded_s,
    )


def _idle_watts(meter: EnergyMeter, seconds: float, sleep: Callable[[float], None]) -> float:
    start_joules, start_s = meter.read()
    sleep(seconds)
    end_joules, end_s = meter.read()
    return (end_joules - start_joules) / (end_s - start_s)


def _loaded(
    meter: EnergyMeter, run: Callable[[], object], segment_s: float, clock: Callable[[], float]
) -> tuple[list[float], list[float], float]:
    """Joules and seconds of one run, of each segment, and seconds of all segments."""
    joules, seconds, total_s = [], [], 0.0
    for _ in range(SEGMENTS):
        start_joules, start_s = meter.read()
        runs, now_s = 0, start_s
        while runs == 0 or now_s - start_s < segment_s:
            run()
            runs += 1
            now_s = clock()
        end_joules, end_s = meter.read()
        joules.append((end_joules - start_joules) / runs)
        seconds.append((end_s - start_s) / runs)
        total_s += end_s - start_s
    return joules, seconds, total_s
