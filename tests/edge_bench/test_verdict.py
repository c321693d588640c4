from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeml.core.bench_result import BenchResult, Comparison, Contender, Verdict
from edgeml.edge_bench.verdicts.comparisons import comparison_between
from edgeml.edge_bench.verdicts.verdict import baseline_index, verdicts

MakeContender = Callable[..., Contender]
MakeResult = Callable[..., BenchResult]


def comparison(
    ratio: float,
    low: float,
    high: float,
    accuracy: float | None = None,
    interval: tuple[float, float] | None = None,
    *,
    a: int = 1,
    b: int = 0,
) -> Comparison:
    verdict: Verdict = "faster" if low > 1 else "slower" if high < 1 else "no difference shown"
    return Comparison(
        a=a, b=b, ratio=ratio, ci95=(low, high), verdict=verdict, accuracy_difference=accuracy, accuracy_ci95=interval
    )


@pytest.fixture
def judge(make_contender: MakeContender, make_result: MakeResult) -> Callable[..., str]:
    """The sentence about int8 against fp32 of one network."""

    def sentence(found: Comparison, tolerance_points: float = 0.5) -> str:
        result = make_result([make_contender("fp32"), make_contender("int8")], [found])
        return verdicts(result, tolerance_points=tolerance_points)[1].sentence

    return sentence


def test_faster_at_an_accepted_loss_pays(judge: Callable[..., str]) -> None:
    assert judge(comparison(1.9, 1.8, 2.0, -0.001, (-0.003, 0.001))) == (
        "int8 is 1.9x [1.8, 2.0] faster than fp32 at -0.1 points [-0.3, +0.1]: it pays"
    )


def test_faster_at_too_great_a_loss_does_not_pay(judge: Callable[..., str]) -> None:
    assert judge(comparison(1.9, 1.8, 2.0, -0.02, (-0.025, -0.015))) == (
        "int8 is 1.9x [1.8, 2.0] faster than fp32 at -2.0 points [-2.5, -1.5], more than the 0.5 points allowed: "
        "it does not pay"
    )


def test_slower_does_not_pay_whatever_the_accuracy(judge: Callable[..., str]) -> None:
    assert judge(comparison(0.5, 0.4, 0.625, 0.002)) == (
        "int8 is 2.0x [1.6, 2.5] slower than fp32 at +0.2 points: it does not pay"
    )


def test_no_difference_is_no_claim(judge: Callable[..., str]) -> None:
    assert judge(comparison(1.01, 0.97, 1.05, 0.0, (-0.001, 0.001))) == (
        "int8: no difference in latency from fp32 shown (ratio 1.01 [0.97, 1.05]) at 0.0 points [-0.1, +0.1]"
    )


def test_unmeasured_accuracy_is_said(judge: Callable[..., str]) -> None:
    assert judge(comparison(1.9, 1.8, 2.0)) == (
        "int8 is 1.9x [1.8, 2.0] faster than fp32, accuracy not measured: it pays if its accuracy holds"
    )


def test_the_tolerance_is_the_callers(judge: Callable[..., str]) -> None:
    assert judge(comparison(1.9, 1.8, 2.0, -0.01), tolerance_points=1).endswith(": it pays")
    assert judge(comparison(1.9, 1.8, 2.0, -0.01), tolerance_points=0.9).endswith(
        "the 0.9 points allowed: it does not pay"
    )


def test_a_loss_just_over_the_tolerance_is_not_printed_as_the_tolerance(judge: Callable[..., str]) -> None:
    assert "at -0.52 points" in judge(comparison(1.9, 1.8, 2.0, -0.0052))
    assert judge(comparison(1.9, 1.8, 2.0, 0.716 - 0.721)).endswith("at -0.5 points: it pays")


def test_a_difference_the_statistics_do_not_hold_for_is_not_claimed(judge: Callable[..., str]) -> None:
    # The interval excludes 1, but the run's correction for many comparisons does not let it stand.
    found = Comparison(a=1, b=0, ratio=1.02, ci95=(1.01, 1.03), verdict="no difference shown")
    assert judge(found).startswith("int8: no difference in latency from fp32 shown")


@given(
    low=st.floats(1.0, 50.0, exclude_min=True),
    spread=st.floats(0.0, 5.0),
    slower=st.booleans(),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_claim_never_stands_beside_an_interval_that_shows_1(
    judge: Callable[..., str], low: float, spread: float, slower: bool
) -> None:
    high = low + spread
    ratio, start, end = (low + high) / 2, low, high
    if slower:
        ratio, start, end = 1 / ratio, 1 / high, 1 / low
    found = Comparison(a=1, b=0, ratio=ratio, ci95=(start, end), verdict="slower" if slower else "faster")
    sentence = judge(found)
    match = re.search(r"\[([\d.]+), ([\d.]+)\]", sentence)
    assert match is not None
    if "faster" in sentence or "slower" in sentence:
        assert float(match[1]) > 1
    else:
        assert end >= 1 >= start  # rounding in 1 / x met 1 exactly


def test_size_and_doubt_are_noted(make_contender: MakeContender, make_result: MakeResult) -> None:
    contenders = [make_contender("fp32"), make_contender("int8", size_bytes=270_000)]
    found = comparison(1.9, 1.8, 2.0, -0.003, (-0.008, 0.002))
    (_, verdict) = verdicts(make_result(contenders, [found]))
    assert str(verdict) == (
        "int8 is 1.9x [1.8, 2.0] faster than fp32 at -0.3 points [-0.8, +0.2]: it pays. Its file is 3.7x smaller. "
        "A loss of more than 0.5 points is not excluded."
    )


@pytest.mark.parametrize(
    ("warning", "hedged"),
    [
        ("noisy: other programs took 80% of a core during the run", (True, True, True)),
        ("throttled: the control group's CPU quota stopped the run for 9% of its time", (True, True, True)),
        ("int8: drift: latency rose by 9% within launches", (False, True, False)),
        ("fp32: noisy: 9% of the samples are outliers far above the rest", (True, True, True)),
        ("fp16: its batch is fixed, so it was measured at batch 1, not 8", (False, False, False)),
    ],
)
def test_noise_hedges_those_it_touches(
    make_contender: MakeContender, make_result: MakeResult, warning: str, hedged: tuple[bool, ...]
) -> None:
    contenders = [make_contender("fp32"), make_contender("int8"), make_contender("fp16")]
    result = make_result(contenders, [comparison(1.9, 1.8, 2.0), comparison(1.2, 1.1, 1.3, a=2)], warnings=[warning])
    assert tuple("noisy" in " ".join(verdict.notes) for verdict in verdicts(result)) == hedged


def test_networks_trade_speed_for_accuracy(make_contender: MakeContender, make_result: MakeResult) -> None:
    contenders = [
        make_contender(model="tinynet-c"),
        make_contender(model="tinynet-e"),
        make_contender(model="tinynet-a"),
    ]
    found = [comparison(3, 2.9, 3.1, -0.05, (-0.06, -0.04)), comparison(0.5, 0.4, 0.625, 0.04, (0.03, 0.05), a=2)]
    result = verdicts(make_result(contenders, found))
    assert [verdict.outcome for verdict in result] == ["baseline", "trade", "trade"]
    assert result[1].sentence.endswith("at -5.0 points [-6.0, -4.0]: it trades accuracy for speed")
    assert result[2].sentence.endswith("at +4.0 points [+3.0, +5.0]: it trades speed for accuracy")


def test_a_contender_is_judged_against_fp32_of_its_own_configuration(make_contender: MakeContender) -> None:
    contenders = [
        make_contender("int8", threads=1),
        make_contender("fp32", threads=2),
        make_contender("fp32", threads=1),
        make_contender("int8", threads=2),
        make_contender("int8", model="tinynet-a"),
    ]
    assert [baseline_index(contenders, index) for index in range(5)] == [2, 0, 0, 1, 0]


def test_a_contender_without_a_comparison_is_not_judged(make_contender: MakeContender, make_result: MakeResult) -> None:
    verdict = verdicts(make_result([make_contender("fp32"), make_contender("int8")], []))[1]
    assert (verdict.outcome, verdict.sentence) == ("not compared", "int8 was not compared with fp32 in this run")


def test_a_comparison_made_the_other_way_is_turned_round(
    make_contender: MakeContender, make_result: MakeResult
) -> None:
    found = comparison(0.5, 0.4, 0.625, 0.01, (-0.01, 0.03), a=0, b=1)
    turned = comparison_between(make_result([make_contender(), make_contender("int8")], [found]), 1, 0)
    assert turned is not None
    assert (turned.ratio, turned.ci95, turned.verdict) == (2.0, (1.6, 2.5), "faster")
    assert (turned.accuracy_difference, turned.accuracy_ci95) == (-0.01, (-0.03, 0.01))
