"""How a contender's latency holds over minutes of load, beside the device's frequency and temperature."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class SustainedPoint:
    """A few seconds of uninterrupted load.

    Attributes:
        time_s: end of the interval, in seconds since the load began.
        runs: runs in it.
        median_ms: their median latency in milliseconds.
        p90_ms: their 90th percentile; None with too few runs for one.
        frequency_mhz: of the fastest core at its end; None where the device does not tell.
        temperature_c: of the hottest thermal zone at its end; None where the device does not tell.
    """

    time_s: float
    runs: int
    median_ms: float
    p90_ms: float | None
    frequency_mhz: float | None
    temperature_c: float | None


@dataclass(frozen=True, kw_only=True)
class Throttling:
    """The moment from which the device was slower for good.

    Attributes:
        time_s: seconds since the load began.
        slowdown: median latency after it over median latency before it.
        frequency_drop: share by which the frequency fell across it; None where it is not told.
        temperature_c: at that moment; None where it is not told.
        cause: "heat" where frequency fell or cores told of it, "unexplained" where only latency shows it.
    """

    time_s: float
    slowdown: float
    frequency_drop: float | None
    temperature_c: float | None
    cause: str


@dataclass(frozen=True, kw_only=True)
class Sustained:
    """A contender under load for `seconds`, alone on the device.

    Attributes:
        seconds: time asked for.
        points: in order of time.
        throttling: None where latency held.
    """

    seconds: float
    points: tuple[SustainedPoint, ...]
    throttling: Throttling | None
