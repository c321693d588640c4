from __future__ import annotations

import pytest

from edgeml.core.bench_result import Comparison
from edgeml.edge_bench.report import words
from edgeml.edge_bench.statistics import Estimate


@pytest.mark.parametrize(
    ("value", "text"), [(0.1234, "0.123"), (1.234, "1.23"), (12.34, "12.3"), (123.4, "123"), (4567.8, "4568")]
)
def test_latencies_have_three_significant_digits(value: float, text: str) -> None:
    assert words.milliseconds(value) == text


def test_an_interval_has_the_digits_of_its_figure() -> None:
    assert words.milliseconds_interval(Estimate(value=9.96, ci95=(9.5, 10.5))) == "[9.50, 10.50]"


@pytest.mark.parametrize(
    ("value", "text"), [(999, "999 B"), (1_234, "1.23 kB"), (911_300, "911.3 kB"), (1_780_000, "1.78 MB")]
)
def test_files_are_counted_in_thousands(value: int, text: str) -> None:
    assert words.size(value) == text


def test_memory_is_counted_in_powers_of_two() -> None:
    assert [words.memory(68 << 20), words.memory(3 << 29)] == ["68 MiB", "1.5 GiB"]


def test_a_moment_is_readable_and_an_unknown_form_stays() -> None:
    assert words.moment("2026-01-02T03:04:05+00:00") == "2 January 2026, 03:04 UTC"
    assert words.moment("yesterday") == "yesterday"


def test_a_claimed_difference_never_shows_an_interval_that_touches_1() -> None:
    claimed = Comparison(a=1, b=0, ratio=0.987, ci95=(0.977, 0.997), verdict="slower")
    assert (words.ratio(claimed), words.ratio_interval(claimed)) == ("0.987", "[0.977, 0.997]")
    unclaimed = Comparison(a=1, b=0, ratio=0.999, ci95=(0.977, 1.01), verdict="no difference shown")
    assert (words.ratio(unclaimed), words.ratio_interval(unclaimed)) == ("1.00", "[0.98, 1.01]")


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("min_duration_s", 60.0, "min duration 60 s"),
        ("target_latency_ms", 12.5, "target latency 12.5 ms"),
        ("overhead_us", 37.6957, "overhead 37.7 µs"),
        ("samples_per_query", 8.0, "samples per query 8"),
    ],
)
def test_a_setting_is_said_with_its_unit(name: str, value: float, text: str) -> None:
    assert words.setting(value, name) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.0614, "61.4 mJ"), (2.5, "2.50 J"), (0.0000123, "12.3 µJ"), (-0.002, "-2.00 mJ")]
)
def test_energies_are_in_a_unit_that_leaves_a_readable_number(value: float, text: str) -> None:
    assert words.joules(value) == text


@pytest.mark.parametrize(("value", "text"), [(0, "0"), (0.01234, "0.0123"), (81.26, "81.3"), (12_345.6, "12,346")])
def test_rates_have_three_significant_digits(value: float, text: str) -> None:
    assert words.significant(value) == text


@pytest.mark.parametrize(("value", "text"), [(640, "640"), (24_300_000, "24.3 M"), (1_230_000_000, "1.23 G")])
def test_counts_are_scaled(value: float, text: str) -> None:
    assert words.scaled(value) == text


def test_an_interval_stays_on_one_line() -> None:
    assert (
        words.unbroken("1.9x [1.8, 2.0] at [-0.3, +0.1]")
        == "1.9x [1.8,\N{NO-BREAK SPACE}2.0] at [-0.3,\N{NO-BREAK SPACE}+0.1]"
    )
