"""How a report writes numbers: units people read, digits that the figures can bear."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import datetime

from edgeml.core.bench_result import Comparison
from edgeml.core.bench_scenario import ScenarioResult
from edgeml.edge_bench.statistics import Estimate

_SETTING_UNITS = {"s": "s", "ms": "ms", "us": "µs", "qps": "queries a second"}
_UNITS = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3))


def milliseconds(value: float) -> str:
    """Three significant digits without an exponent, the unit left to the heading."""
    if value >= 100:
        return f"{value:.0f}"
    if value >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def milliseconds_interval(estimate: Estimate) -> str:
    """The 95% interval with the digits of its figure."""
    low, high = estimate.ci95
    digits = len(milliseconds(estimate.value).partition(".")[2])
    return f"[{low:.{digits}f}, {high:.{digits}f}]"


def size(value: float) -> str:
    """Bytes in decimal units, as disks and downloads are sold."""
    for unit, scale in _UNITS:
        if value >= scale:
            return f"{value / scale:.2f} {unit}" if value < 10 * scale else f"{value / scale:.1f} {unit}"
    return f"{value:.0f} B"


def memory(value: float) -> str:
    """Bytes in binary units, as memory is sold."""
    return f"{value / 2**30:.1f} GiB" if value >= 2**30 else f"{value / 2**20:.0f} MiB"


def percent(value: float) -> str:
    """A share with two decimals, the sign left to the heading."""
    return f"{100 * value:.2f}"


def ratio(comparison: Comparison) -> str:
    """How many times faster than the baseline, below 1 for slower."""
    return f"{comparison.ratio:.{_ratio_digits(comparison)}f}"


def ratio_interval(comparison: Comparison) -> str:
    """The 95% interval with the digits of its ratio."""
    low, high = comparison.ci95
    digits = _ratio_digits(comparison)
    return f"[{low:.{digits}f}, {high:.{digits}f}]"


def _ratio_digits(comparison: Comparison) -> int:
    """Two, or as many as keep the interval of a difference that is claimed from showing 1."""
    digits = 2
    claimed = comparison.verdict != "no difference shown"
    while claimed and digits < 9 and any(float(f"{bound:.{digits}f}") == 1 for bound in comparison.ci95):
        digits += 1
    return digits


def unbroken(text: str) -> str:
    """Text whose intervals are not broken over two lines."""
    return re.sub(r"\[(\S+), (\S+)\]", "[\\1,\N{NO-BREAK SPACE}\\2]", text)


def moment(value: str) -> str:
    """An ISO 8601 time as people write it; anything else as it is."""
    try:
        return datetime.fromisoformat(value).strftime("%d %B %Y, %H:%M %Z").strip(" ,").removeprefix("0")
    except ValueError:
        return value


def significant(value: float) -> str:
    """Three significant digits without an exponent, for rates and powers."""
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{min(digits, 6)}f}"


def scaled(value: float) -> str:
    """A count in thousands, millions or billions."""
    for unit, scale in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= scale:
            return f"{significant(value / scale)} {unit}"
    return f"{value:.0f}"


def joules(value: float) -> str:
    """Energy in the unit that leaves a readable number."""
    for unit, scale in (("J", 1.0), ("mJ", 1e-3)):
        if abs(value) >= scale:
            return f"{significant(value / scale)} {unit}"
    return f"{significant(value / 1e-6)} µJ"


def joules_interval(ends: tuple[float, float]) -> str:
    """A 95% interval of an energy."""
    return f"[{joules(ends[0])},\N{NO-BREAK SPACE}{joules(ends[1])}]"


def score(result: ScenarioResult) -> str:
    """LoadGen's score, its nanoseconds as milliseconds."""
    if result.metric.endswith("(ns)"):
        return f"{milliseconds(result.value / 1e6)} ms"
    return significant(result.value)


def metric(result: ScenarioResult) -> str:
    """What the score is, without the unit that `score` says."""
    return result.metric.removesuffix("(ns)").strip()


def setting(value: float, name: str) -> str:
    """A scenario's setting in words: min_duration_s 60 is "min duration 60 s"."""
    number = f"{value:.0f}" if value == round(value) else significant(value)
    stem, _, unit = name.rpartition("_")
    if unit in _SETTING_UNITS:
        return f"{stem.replace('_', ' ')} {number} {_SETTING_UNITS[unit]}"
    return f"{name.replace('_', ' ')} {number}"


FILTERS: dict[str, Callable[..., str]] = {
    "ms": milliseconds,
    "ms_interval": milliseconds_interval,
    "size": size,
    "memory": memory,
    "percent": percent,
    "moment": moment,
    "unbroken": unbroken,
    "ratio": ratio,
    "ratio_interval": ratio_interval,
    "significant": significant,
    "scaled": scaled,
    "joules": joules,
    "joules_interval": joules_interval,
    "score": score,
    "metric": metric,
    "setting": setting,
}
