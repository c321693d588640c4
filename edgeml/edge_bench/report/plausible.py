"""Checks that results hold figures a run can have: they may come from a file someone edited."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from itertools import pairwise

from edgeml.core.bench_result import BenchResult, Contender
from edgeml.core.errors import UsageError

_FASTEST_MS, _SLOWEST_MS = 1e-6, 1e9


def check_plausible(result: BenchResult) -> None:
    """Refuse figures that would break the plots.

    Raises:
        UsageError: a figure is none that a run can have; the message names it.
    """
    if not all(map(math.isfinite, _numbers(result.readings))):
        raise UsageError("a reading of the device is not a finite number; measure again")
    for contender in result.contenders:
        _check_contender(contender)


def _check_contender(contender: Contender) -> None:
    name, samples, accuracy = contender.artifact, contender.latency_ms, contender.accuracy
    if contender.launches and (not samples or min(samples) < _FASTEST_MS or max(samples) > _SLOWEST_MS):
        raise UsageError(f"{name}: a latency lies outside {_FASTEST_MS:g} to {_SLOWEST_MS:g} ms; measure again")
    if accuracy is not None and not all(0 <= share <= 1 for share in (accuracy.value, *accuracy.ci95)):
        raise UsageError(f"{name}: accuracy {accuracy.value:g} is no share between 0 and 1; measure again")
    for what in ("scenario", "sustained", "profile", "energy"):
        if not all(map(math.isfinite, _numbers(getattr(contender, what)))):
            raise UsageError(f"{name}: a figure of its {what} is not a finite number; measure again")
    if contender.sustained is not None:
        points = contender.sustained.points
        if not all(_FASTEST_MS <= point.median_ms <= _SLOWEST_MS for point in points):
            raise UsageError(
                f"{name}: a latency under load lies outside {_FASTEST_MS:g} to {_SLOWEST_MS:g} ms; measure again"
            )
        if any(before.time_s >= after.time_s for before, after in pairwise(points)):
            raise UsageError(f"{name}: the points of its sustained load are not in order of time; measure again")
    if contender.profile is not None:
        for operator in contender.profile.operators:
            if not 0 <= operator.share <= 1:
                raise UsageError(
                    f"{name}: operator {operator.name!r:.80} has share {operator.share:g}, none between 0 and 1; "
                    "measure again"
                )


def _numbers(value: object) -> Iterator[float]:
    """Every number in a value, however deep."""
    if isinstance(value, int | float):
        yield value
    elif is_dataclass(value):
        for field in fields(value):
            yield from _numbers(getattr(value, field.name))
    elif isinstance(value, tuple | list):
        for each in value:
            yield from _numbers(each)
    elif isinstance(value, dict):
        for each in value.values():
            yield from _numbers(each)
