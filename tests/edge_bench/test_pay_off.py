from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from edgeml.core.bench_result import BenchResult, Comparison, Contender, Verdict
from edgeml.edge_bench.report.page import render
from edgeml.edge_bench.results import from_json, to_json
from edgeml.edge_bench.verdicts.labels import contender_labels
from edgeml.edge_bench.verdicts.pay_off import PayOff, pay_offs, peer_index
from edgeml.edge_bench.verdicts.verdict import baseline_index, verdicts

MakeContender = Callable[..., Contender]
MakeResult = Callable[..., BenchResult]
Judge = Callable[[Comparison], PayOff]

PEER, OTHER = "b" * 64, "c" * 64


@pytest.fixture
def pair(make_contender: MakeContender) -> list[Contender]:
    """A binary network and the int8 network of another architecture that its manifest names."""
    binary = replace(make_contender(model="bnn"), binary=True, int8_peer=PEER, sha256="a" * 64)
    return [binary, replace(make_contender("int8", model="small"), sha256=PEER)]


@pytest.fixture
def judge(pair: list[Contender], make_result: MakeResult) -> Judge:
    return lambda found: pay_offs(make_result(pair, [found]))[0]


def against_peer(
    ratio: float,
    low: float,
    high: float,
    accuracy: float | None = 0.001,
    interval: tuple[float, float] | None = (-0.004, 0.006),
) -> Comparison:
    verdict: Verdict = "faster" if low > 1 else "slower" if high < 1 else "no difference shown"
    return Comparison(
        a=0, b=1, ratio=ratio, ci95=(low, high), verdict=verdict, accuracy_difference=accuracy, accuracy_ci95=interval
    )


def test_faster_at_equal_accuracy_pays(judge: Judge) -> None:
    found = judge(against_peer(2.0, 1.9, 2.1))
    assert (found.contender, found.peer, found.outcome) == (0, 1, "pays")
    assert found.sentence == (
        "bnn binary is 2.0x [1.9, 2.1] faster than its int8 peer small int8 at equal accuracy (+0.1 points [-0.4, "
        "+0.6]): it pays"
    )


def test_slower_at_equal_accuracy_does_not_pay(judge: Judge) -> None:
    found = judge(against_peer(0.5, 0.4, 0.625))
    assert found.outcome == "does not pay"
    assert "2.0x [1.6, 2.5] slower than its int8 peer" in found.sentence


def test_no_difference_in_latency_shows_nothing(judge: Judge) -> None:
    assert judge(against_peer(1.0, 0.95, 1.05)).outcome == "not shown"


def test_faster_at_less_accuracy_asks_for_another_peer(judge: Judge) -> None:
    worse = judge(against_peer(2.0, 1.9, 2.1, -0.02, (-0.025, -0.015)))
    assert worse.outcome == "not shown"
    assert "but small int8 is more accurate than bnn binary by 2.0 points [1.5, 2.5]" in worse.sentence
    better = judge(against_peer(0.5, 0.4, 0.625, 0.02, (0.015, 0.025)))
    assert better.outcome == "not shown"
    assert "but bnn binary is more accurate than small int8 by 2.0 points [1.5, 2.5]" in better.sentence


def test_better_in_both_pays_and_worse_in_both_does_not(judge: Judge) -> None:
    better = judge(against_peer(2.0, 1.9, 2.1, 0.02, (0.015, 0.025)))
    assert better.outcome == "pays"
    assert better.sentence.endswith(
        "small int8, and bnn binary is more accurate than small int8 by 2.0 points [1.5, 2.5]: it pays"
    )
    worse = judge(against_peer(0.5, 0.4, 0.625, -0.02, (-0.025, -0.015)))
    assert worse.outcome == "does not pay"
    assert worse.sentence.endswith(
        "small int8 is more accurate than bnn binary by 2.0 points [1.5, 2.5]: it does not pay"
    )
    unclear = judge(against_peer(1.0, 0.9, 1.1, 0.02, (0.015, 0.025)))
    assert unclear.outcome == "not shown"


def test_without_accuracies_nothing_is_shown(judge: Judge) -> None:
    found = judge(against_peer(2.0, 1.9, 2.1, None, None))
    assert found.outcome == "not shown"
    assert found.sentence.endswith("accuracies were not measured on the same data: pay-off not shown")


def test_without_a_peer_it_is_unknown(make_contender: MakeContender, make_result: MakeResult) -> None:
    lone = replace(make_contender(), binary=True)
    (found,) = pay_offs(make_result([lone]))
    assert (found.peer, found.outcome) == (None, "unknown")
    assert found.sentence == "whether binary pays is unknown: it names no int8 peer of equal accuracy"
    (missing,) = pay_offs(make_result([replace(lone, int8_peer=PEER)]))
    assert missing.sentence.endswith("its int8 peer was not measured in this run")


def test_float_networks_are_not_judged(make_contender: MakeContender, make_result: MakeResult) -> None:
    assert pay_offs(make_result([make_contender(), make_contender("int8")])) == ()


def test_the_peer_is_the_one_with_the_same_threads_and_the_own_runtime(pair: list[Contender]) -> None:
    binary, peer = pair
    others = [replace(peer, threads=1), replace(peer, runtime="tvm"), peer, replace(peer, sha256=OTHER)]
    assert peer_index([binary, *others], 0) == 3
    assert peer_index([binary, *others[:2]], 0) == 2
    assert peer_index([binary, others[0]], 0) is None


def test_the_peer_is_the_baseline_and_the_verdict_is_the_pay_off(
    pair: list[Contender], make_result: MakeResult
) -> None:
    assert [baseline_index(pair, index) for index in (0, 1)] == [1, 1]
    judged, baseline = verdicts(make_result(pair, [against_peer(2.0, 1.9, 2.1)]))
    assert (judged.outcome, judged.baseline, baseline.outcome) == ("pays", 1, "baseline")
    assert "at equal accuracy" in judged.sentence


def test_binary_networks_that_name_each_other_have_no_peer(make_contender: MakeContender) -> None:
    a = replace(make_contender(), binary=True, sha256=PEER, int8_peer=OTHER)
    b = replace(make_contender(), binary=True, sha256=OTHER, int8_peer=PEER)
    own = replace(make_contender(), binary=True, sha256=PEER, int8_peer=PEER)
    assert [baseline_index([a, b], index) for index in (0, 1)] == [0, 0]
    assert baseline_index([own], 0) == 0


def test_the_json_holds_the_judgement_and_comes_back(pair: list[Contender], make_result: MakeResult) -> None:
    result = make_result(pair, [against_peer(2.0, 1.9, 2.1)])
    value = to_json(result)
    assert [entry["outcome"] for entry in value["pay_off"]] == ["pays"]
    assert (value["contenders"][0]["binary"], value["contenders"][0]["int8_peer"]) == (True, PEER)
    assert from_json(value) == result


def test_results_written_before_binary_networks_still_load(
    make_contender: MakeContender, make_result: MakeResult
) -> None:
    result = make_result([make_contender()])
    value = to_json(result)
    del value["pay_off"], value["contenders"][0]["binary"], value["contenders"][0]["int8_peer"]
    assert from_json(value) == result


def test_the_report_shows_the_judgement_and_its_rule(pair: list[Contender], make_result: MakeResult) -> None:
    page = render([make_result(pair, [against_peer(2.0, 1.9, 2.1)])])
    assert "faster than its int8 peer" in page
    assert "A binary network pays where it is faster than its int8 peer" in page
    assert "A binary network pays" not in render([make_result(pair[1:])])


def test_labels_say_binary(make_contender: MakeContender) -> None:
    binary = replace(make_contender(), binary=True)
    assert contender_labels([binary, replace(binary, precision="int8")]) == ("binary", "binary and int8")
