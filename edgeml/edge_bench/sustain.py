"""Keeps a contender under load for minutes, alone on the device, and reads the device's state beside its latency."""

from __future__ import annotations

from edgeml.core.bench_sustained import Sustained, SustainedPoint
from edgeml.edge_bench.change_point import throttling
from edgeml.edge_bench.running import Running
from edgeml.edge_bench.statistics import minimum_samples

_FEWEST_POINTS, _MOST_POINTS = 120, 360
_SHORTEST_INTERVAL_S, _USUAL_INTERVAL_S = 0.25, 10.0
_TIMEOUT_S = 300.0


def interval_s(seconds: float) -> float:
    """How long one point takes: 10 s where that gives 120 to 360 points, less in a short load, more in a long one."""
    return max(_SHORTEST_INTERVAL_S, min(_USUAL_INTERVAL_S, seconds / _FEWEST_POINTS), seconds / _MOST_POINTS)


def sustained(running: Running, seconds: float) -> Sustained:
    """The contender under load for `seconds`, with the moment from which the device throttled.

    The worker runs the model without a pause and is asked every few seconds for its figures and the device's state,
    which takes some milliseconds and the link's round trip. Time is that of the device's monotonic clock.

    Args:
        running: open and warm.
        seconds: by that clock.

    Raises:
        EdgeMLError: the worker died or its device was lost.
    """
    wanted_s = interval_s(seconds)
    start = running.state().conditions
    points: list[SustainedPoint] = []
    heat_stops: list[int | None] = []
    while not points or points[-1].time_s < seconds:
        # The first run may take longer than the interval: a run is never cut short.
        timeout_s = _TIMEOUT_S + wanted_s + 10 * running.latency_ms / 1e3
        found = running.ask("load", timeout_s=timeout_s, seconds=wanted_s)
        state = running.state()
        runs = int(found["runs"])
        points.append(
            SustainedPoint(
                time_s=state.conditions.time_s - start.time_s,
                runs=runs,
                median_ms=float(found["median_ms"]),
                p90_ms=float(found["p90_ms"]) if runs >= minimum_samples(0.90) else None,
                frequency_mhz=state.frequency_mhz,
                temperature_c=state.temperature_c,
            )
        )
        heat_stops.append(state.conditions.heat_stops)
    return Sustained(seconds=seconds, points=tuple(points), throttling=throttling(points, heat_stops))


def throttling_warning(found: Sustained) -> str | None:
    """What a reader must know of a contender's sustained load; None where latency held."""
    moment = found.throttling
    if moment is None:
        return None
    facts = [f"{moment.slowdown - 1:.0%} slower"]
    if moment.frequency_drop is not None and moment.frequency_drop > 0:
        facts.append(f"frequency down by {moment.frequency_drop:.0%}")
    if moment.temperature_c is not None:
        facts.append(f"at {moment.temperature_c:.0f} degrees Celsius")
    cause = "throttled for heat" if moment.cause == "heat" else "slowed down, cause unexplained,"
    cause = "throttled for heat" if moment.cause == "heat" else "slowed down for no cause that the device tells"
    return f"under sustained load it {cause} after {moment.time_s:.0f} s: {', '.join(facts)}"
