from __future__ import annotations

import numpy as np
import pytest

from edgeml.core.bench_sustained import SustainedPoint
from edgeml.edge_bench.change_point import change_points, throttling

COUNT = 180
UNTOLD = [None] * COUNT


def points(
    medians_ms: np.ndarray, frequencies_mhz: np.ndarray | None = None, temperature_c: float | None = None
) -> list[SustainedPoint]:
    return [
        SustainedPoint(
            time_s=10.0 * (index + 1),
            runs=1000,
            median_ms=float(value),
            p90_ms=None,
            frequency_mhz=None if frequencies_mhz is None else float(frequencies_mhz[index]),
            temperature_c=temperature_c,
        )
        for index, value in enumerate(medians_ms)
    ]


def wandering(generator: np.random.Generator, deviation: float, correlation: float = 0.9) -> np.ndarray:
    """AR(1)."""
    steps = generator.normal(0, deviation * np.sqrt(1 - correlation**2), COUNT)
    found = np.zeros(COUNT)
    for index in range(1, COUNT):
        found[index] = correlation * found[index - 1] + steps[index]
    return found


@pytest.mark.parametrize("moment", [4, 18, 90, 170])
@pytest.mark.parametrize("slowdown", [1.08, 1.4])
def test_a_planted_slowdown_is_found_at_its_moment(moment: int, slowdown: float) -> None:
    generator = np.random.default_rng(moment)
    levels = np.where(np.arange(COUNT) < moment, 1.0, slowdown)
    found = throttling(points(levels * np.exp(wandering(generator, 0.01))), UNTOLD)
    assert found is not None
    assert abs(found.time_s - 10 * moment) <= 20
    assert found.slowdown == pytest.approx(slowdown, rel=0.05)
    assert found.frequency_drop is None
    assert found.cause == "unexplained"


def test_heat_is_the_cause_where_the_frequency_fell_or_cores_told_of_it() -> None:
    slow = np.arange(COUNT) >= 60
    latencies = np.where(slow, 1.5, 1.0)
    frequencies = np.where(slow, 1000.0, 1500.0)
    found = throttling(points(latencies, frequencies, 81.5), UNTOLD)
    assert found is not None
    assert (found.time_s, found.slowdown, found.temperature_c, found.cause) == (600.0, 1.5, 81.5, "heat")
    assert found.frequency_drop == pytest.approx(1 / 3)
    told = throttling(points(latencies), [0] * 60 + [7] * 120)
    assert told is not None
    assert told.cause == "heat"
    steady = throttling(points(latencies, np.full(COUNT, 1500.0)), [3] * COUNT)
    assert steady is not None
    assert (steady.cause, steady.frequency_drop) == ("unexplained", 0.0)


def test_the_first_of_several_steps_down_is_told() -> None:
    index = np.arange(COUNT)
    found = throttling(points(np.where(index < 30, 1.0, np.where(index < 100, 1.2, 1.6))), UNTOLD)
    assert found is not None
    assert found.time_s == 300.0


def test_what_passes_is_no_throttling() -> None:
    generator = np.random.default_rng(0)
    index = np.arange(COUNT)
    quiet = np.exp(generator.normal(0, 0.01, COUNT))
    assert throttling(points(quiet), UNTOLD) is None
    assert throttling(points(quiet * np.where((index > 60) & (index < 90), 1.5, 1.0)), UNTOLD) is None  # recovered
    assert throttling(points(quiet * np.where(index < 20, 1.3, 1.0)), UNTOLD) is None  # became faster
    assert throttling(points(quiet * np.where(generator.random(COUNT) < 0.1, 1.5, 1.0)), UNTOLD) is None  # bursts
    assert throttling(points(quiet[:5]), UNTOLD[:5]) is None
    assert throttling(points(np.ones(COUNT)), UNTOLD) is None


def test_noise_without_a_change_is_hardly_ever_called_throttling() -> None:
    generator = np.random.default_rng(1)
    found = [throttling(points(np.exp(wandering(generator, 0.02))), UNTOLD) for _ in range(60)]
    found += [throttling(points(np.exp(0.05 * generator.standard_t(3, COUNT))), UNTOLD) for _ in range(60)]
    assert sum(each is not None for each in found) <= 2


def test_stretches_are_those_of_least_cost() -> None:
    values = np.concatenate([np.full(10, 1.0), np.full(10, 2.0), np.full(10, 1.0)])
    assert change_points([values]) == (10, 20)
    assert change_points([np.full(30, 1.0)]) == ()
