from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeml.core.bench_result import BenchResult, Contender
from edgeml.edge_bench.report.axis import Axis, latency_axis, percent_axis
from edgeml.edge_bench.report.figures import rows
from edgeml.edge_bench.report.label_places import Box, place_labels
from edgeml.edge_bench.report.spread_plot import spread_bands
from edgeml.edge_bench.report.tradeoff_plot import latency_plot, pareto_front, tradeoff_plot

MakeContender = Callable[..., Contender]
MakeResult = Callable[..., BenchResult]

PLOT = Box(0, 0, 760, 420)


def test_linear_ticks_are_round_and_told_apart() -> None:
    assert [text for _, text in Axis(91.03, 92.2, 0, 100).ticks(5)] == ["91.2", "91.4", "91.6", "91.8", "92.0", "92.2"]
    assert [text for _, text in Axis(0.3, 0.81, 0, 100).ticks(5)] == ["0.3", "0.4", "0.5", "0.6", "0.7", "0.8"]
    assert [text for _, text in Axis(0, 100, 0, 100).ticks(5)] == ["0", "20", "40", "60", "80", "100"]


def test_a_large_range_of_latencies_gets_a_logarithmic_axis() -> None:
    assert not latency_axis([1.0, 4.0], 0, 100).log
    axis = latency_axis([0.5, 50.0], 0, 100)
    assert axis.log
    assert axis.at(5.0) == pytest.approx(50)
    assert {"1", "10"} <= {text for _, text in axis.ticks(8)}


@given(st.lists(st.floats(1e-6, 1e9), min_size=1, max_size=6))
def test_every_latency_lies_on_its_axis_with_a_few_distinct_ticks(values: list[float]) -> None:
    axis = latency_axis(values, 10, 700)
    assert all(10 <= axis.at(value) <= 700 for value in values)
    texts = [text for _, text in axis.ticks(8)]
    assert len(texts) == len(set(texts)) <= 12


@given(st.lists(st.floats(0, 100), min_size=1, max_size=6))
def test_every_percentage_lies_on_its_axis(values: list[float]) -> None:
    axis = percent_axis(values, 400, 10)
    assert 0 <= axis.low < axis.high <= 100
    texts = [text for _, text in axis.ticks(5)]
    assert 1 <= len(texts) == len(set(texts)) <= 8


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9)), min_size=1, max_size=8))
def test_the_front_is_what_no_other_beats(values: list[tuple[int, int]]) -> None:
    floats = [(float(latency), float(accuracy)) for latency, accuracy in values]
    front = {floats[index] for index in pareto_front(floats)}
    beaten = {(x, y) for x, y in floats if any(u <= x and v >= y and (u, v) != (x, y) for u, v in floats)}
    assert front == set(floats) - beaten


@given(st.lists(st.tuples(st.floats(20, 700), st.floats(20, 400)), max_size=14))
def test_names_never_cover_each_other_or_a_mark(points: list[tuple[float, float]]) -> None:
    obstacles = [Box(x - 8, y - 8, x + 8, y + 8) for x, y in points]
    labels = place_labels(points, [f"tinynet-{index} int8" for index in range(len(points))], obstacles, PLOT, size=13)
    boxes = [label.box for label in labels if label is not None]
    assert all(box.inside(PLOT) for box in boxes)
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))
    assert not any(box.overlaps(obstacle) for box in boxes for obstacle in obstacles)


def test_a_dozen_crowded_points_all_get_a_name() -> None:
    points = [(300 + 9 * index, 200 + 5 * (index % 4)) for index in range(12)]
    obstacles = [Box(x - 8, y - 8, x + 8, y + 8) for x, y in points]
    labels = place_labels(points, [f"tinynet-{index} int8" for index in range(12)], obstacles, PLOT, size=13)
    assert None not in labels
    assert any(label is not None and label.leader is not None for label in labels)


@pytest.mark.parametrize("narrow", [False, True])
def test_faster_is_left_and_more_accurate_is_up(
    make_contender: MakeContender, make_result: MakeResult, narrow: bool
) -> None:
    result = make_result([make_contender("fp32", 2.0, 0.92), make_contender("int8", 1.0, 0.91)])
    plot = tradeoff_plot(rows([result], 0.5), narrow=narrow)
    assert plot is not None
    fp32, int8 = plot.points
    assert int8.x < fp32.x
    assert int8.y > fp32.y  # pixels count down the screen
    for point in plot.points:
        assert point.x_low <= point.x <= point.x_high
        assert point.y_low < point.y < point.y_high


def test_contenders_without_accuracy_are_named_beside_the_plot(
    make_contender: MakeContender, make_result: MakeResult
) -> None:
    contenders = [make_contender("fp32"), make_contender("int8", accuracy=None)]
    plot = tradeoff_plot(rows([make_result(contenders)], 0.5))
    assert plot is not None
    assert plot.left_out == ["int8"]


def test_a_run_without_accuracy_has_a_latency_plot(make_contender: MakeContender, make_result: MakeResult) -> None:
    shown = rows([make_result([make_contender("fp32", 2.0, None), make_contender("int8", 1.0, None)])], 0.5)
    assert tradeoff_plot(shown) is None
    plot = latency_plot(shown)
    assert plot is not None
    fp32, int8 = plot.points
    assert int8.x < fp32.x
    assert int8.y > fp32.y  # one line each


def test_stragglers_are_counted_instead_of_stretching_the_axis(
    make_contender: MakeContender, make_result: MakeResult
) -> None:
    contender = make_contender(median=2.0, launches=1)
    launch = contender.launches[0]
    slow = type(launch)(**(vars(launch) | {"latency_ms": (*launch.latency_ms[1:], 90.0)}))
    contender = type(contender)(**(vars(contender) | {"launches": (slow,)}))
    (band,) = spread_bands(rows([make_result([contender])], 0.5))
    assert (band.beyond, band.slowest_ms) == (1, 90.0)


def test_the_same_contender_has_the_same_colour_and_mark_in_all_plots(
    make_contender: MakeContender, make_result: MakeResult
) -> None:
    shown = rows([make_result([make_contender("fp32"), make_contender("int8"), make_contender("fp16")])], 0.5)
    plot = tradeoff_plot(shown)
    assert plot is not None
    styles = [point.row.style for point in plot.points]
    assert styles == [band.row.style for band in spread_bands(shown)] == [row.style for row in shown]
    assert len({(style.colour, style.mark) for style in styles}) == 3
