from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from edgeml.core.bench_result import Accuracy, BenchResult, Contender, Launch
from edgeml.core.errors import UsageError
from edgeml.edge_bench.compare import compare_results

MakeContender = Callable[..., Contender]
MakeResult = Callable[..., BenchResult]


def launches(medians: list[float]) -> tuple[Launch, ...]:
    return tuple(
        Launch(latency_ms=(value,) * 9, block=(0,) * 9, warmup=1, stable=True, load_ms=1.0, peak_memory_bytes=1)
        for value in medians
    )


def scattered(centre: float, deviation: float, seed: int) -> list[float]:
    """Medians of launches whose mean and standard deviation are exactly these, in logarithms."""
    values = np.random.default_rng(seed).standard_normal(5)
    values = (values - values.mean()) / values.std(ddof=1)
    return [float(value) for value in np.exp(np.log(centre) + deviation * values)]


def test_a_change_is_welchs_ratio_of_launches(make_contender: MakeContender, make_result: MakeResult) -> None:
    medians = scattered(2.0, 0.01, 0), scattered(1.5, 0.03, 1)
    before, after = (make_result([replace(make_contender(), launches=launches(each))]) for each in medians)
    (change,) = compare_results([before], [after]).changes
    reference = stats.ttest_ind(np.log(medians[0]), np.log(medians[1]), equal_var=False)
    assert change.comparison.ratio == pytest.approx(2.0 / 1.5)
    assert change.comparison.ci95 == pytest.approx(tuple(np.exp(reference.confidence_interval(0.95))))
    assert change.comparison.verdict == "faster"
    assert change.same_file
    assert not change.regressed
    (back,) = compare_results([after], [before]).changes
    assert back.comparison.verdict == "slower"


def test_contenders_are_matched_by_what_they_are(make_contender: MakeContender, make_result: MakeResult) -> None:
    fp32, int8 = make_contender("fp32", 2.0), make_contender("int8", 1.0)
    one_thread, other = make_contender("int8", 1.7, threads=1), make_contender("fp32", 9.0, model="tinynet-a")
    found = compare_results([make_result([fp32, int8, one_thread])], [make_result([other, int8, fp32])])
    assert [(change.comparison.b, change.comparison.a) for change in found.changes] == [(0, 2), (1, 1)]
    assert {change.comparison.verdict for change in found.changes} == {"no difference shown"}
    assert len(found.unmatched) == 2
    assert "tinynet-e int8 (onnxruntime, threads 1, batch 1, local) is in the baseline only" in found.unmatched


def test_a_file_measured_against_itself_is_matched_in_order(
    make_contender: MakeContender, make_result: MakeResult
) -> None:
    twice = make_result([make_contender(), make_contender()])
    assert [(c.comparison.b, c.comparison.a) for c in compare_results([twice], [twice]).changes] == [(0, 0), (1, 1)]


def test_runs_of_several_devices_are_matched_by_device(make_contender: MakeContender, make_result: MakeResult) -> None:
    def on(device: str, latency_ms: float) -> BenchResult:
        return make_result([replace(make_contender("fp32", latency_ms), device=device)])

    found = compare_results([on("local", 1.0), on("adb://b", 3.0)], [on("adb://b", 2.0), on("local", 1.0)])
    assert {change.after[0].device: change.comparison.verdict for change in found.changes} == {
        "local": "no difference shown",
        "adb://b": "faster",
    }


def test_repeated_runs_are_the_unit_where_there_are_several(
    make_contender: MakeContender, make_result: MakeResult
) -> None:
    def runs(levels: list[float]) -> list[BenchResult]:
        return [make_result([replace(make_contender(), launches=launches([level] * 5))]) for level in levels]

    # Launches of one run agree to the last digit; the runs do not.
    before, after = [1.00, 1.03, 0.98], [1.02, 0.99]
    (alone,) = compare_results(runs(before[:1]), runs(after[:1])).changes
    assert alone.comparison.verdict == "slower"
    (change,) = compare_results(runs(before), runs(after)).changes
    reference = stats.ttest_ind(np.log(before), np.log(after))
    assert change.comparison.ci95 == pytest.approx(tuple(np.exp(reference.confidence_interval(0.95))))
    assert change.comparison.verdict == "no difference shown"
    assert (len(change.before), len(change.after)) == (3, 2)


def test_one_run_is_judged_by_how_several_of_the_baseline_differ(
    make_contender: MakeContender, make_result: MakeResult
) -> None:
    def runs(levels: list[float]) -> list[BenchResult]:
        return [make_result([replace(make_contender(), launches=launches([level] * 5))]) for level in levels]

    before = [1.00, 1.02, 0.99, 1.01]
    (change,) = compare_results(runs(before), runs([1.1])).changes
    logs = np.log(before)
    half_width = logs.std(ddof=1) * np.sqrt(1 + 1 / 4) * stats.t.ppf(0.975, 3)  # of one more value of a normal sample
    ratio = np.exp(logs.mean()) / 1.1
    assert change.comparison.ci95 == pytest.approx((ratio * np.exp(-half_width), ratio * np.exp(half_width)))


def test_the_gate_fails_where_the_whole_interval_lies_beyond_it(
    make_contender: MakeContender, make_result: MakeResult
) -> None:
    def slower(percent: float) -> BenchResult:
        medians = scattered(1 + percent / 100, 0.01, 1)
        return make_result([replace(make_contender(), launches=launches(medians))])

    baseline = slower(0)
    half_width = 100 * (np.exp(0.01 * np.sqrt(2 / 5) * stats.t.ppf(0.975, 8)) - 1)  # as many launches, as much scatter
    for percent, regressed, suspected in (
        (0, False, False),
        (4.9, False, False),
        (5.1, False, True),
        (5 + 0.95 * half_width, False, True),
        (5 + 1.1 * half_width, True, False),
    ):
        found = compare_results([baseline], [slower(percent)], regression_percent=5)
        (change,) = found.changes
        assert (change.regressed, change.suspected) == (regressed, suspected), percent
        assert found.regressed == regressed
        assert (100 / change.comparison.ci95[1] - 100 > 5) == regressed


def test_the_gate_asks_more_of_each_where_many_are_compared(
    make_contender: MakeContender, make_result: MakeResult
) -> None:
    def run(percent: float, others: int) -> BenchResult:
        first = replace(make_contender(), launches=launches(scattered(1 + percent / 100, 0.01, 1)))
        rest = [
            replace(make_contender(threads=3 + index), launches=launches(scattered(1.0, 0.01, 2)))
            for index in range(others)
        ]
        return make_result([first, *rest])

    assert compare_results([run(0, 0)], [run(6.8, 0)], regression_percent=5).regressed
    assert not compare_results([run(0, 20)], [run(6.8, 20)], regression_percent=5).regressed
    assert compare_results([run(0, 20)], [run(12, 20)], regression_percent=5).regressed


def test_differing_conditions_are_refused_with_a_list(make_contender: MakeContender, make_result: MakeResult) -> None:
    before = make_result([make_contender()])
    after = replace(before, host=replace(before.host, governor="powersave", machine="aarch64"))
    with pytest.raises(UsageError, match=r"machine \(x86_64, then aarch64\), governor \(not told, then powersave\)"):
        compare_results([before], [after])
    found = compare_results([before], [after], ignore_context=True)
    assert [each.name for each in found.context] == ["machine", "governor"]
    assert len(found.changes) == 1


def test_what_cannot_be_compared_is_refused(make_contender: MakeContender, make_result: MakeResult) -> None:
    run = make_result([make_contender()])
    with pytest.raises(UsageError, match="is in the baseline only"):
        compare_results([run], [make_result([make_contender("int8")])])
    emulated = make_result([replace(make_contender(), launches=())])
    with pytest.raises(UsageError, match="no latency on its device"):
        compare_results([run], [emulated])
    single = make_result([make_contender(launches=1)])
    with pytest.raises(UsageError, match="a single launch"):
        compare_results([run], [single])


def test_accuracy_is_compared_sample_by_sample(make_contender: MakeContender, make_result: MakeResult) -> None:
    def run(wrong: int) -> BenchResult:
        correct = (False,) * wrong + (True,) * (100 - wrong)
        accuracy = Accuracy(
            metric="top-1", value=1 - wrong / 100, ci95=(0.0, 1.0), data="digits:test", samples=100, correct=correct
        )
        return make_result([replace(make_contender(), accuracy=accuracy)])

    comparison = compare_results([run(5)], [run(8)]).changes[0].comparison
    assert comparison.accuracy_difference == pytest.approx(-0.03)
    assert comparison.accuracy_ci95 is not None
    assert comparison.accuracy_ci95[0] < -0.03 < comparison.accuracy_ci95[1]


def test_a_planted_slowdown_is_found_and_none_is_made_up(
    make_contender: MakeContender, make_result: MakeResult
) -> None:
    generator = np.random.default_rng(3)

    def run(latency_ms: float) -> BenchResult:
        medians = latency_ms * np.exp(0.008 * generator.standard_normal(5))
        return make_result([replace(make_contender(), launches=launches([float(each) for each in medians]))])

    baseline = [run(1.0) for _ in range(200)]
    alike = [compare_results([each], [run(1.0)], regression_percent=0) for each in baseline]
    slower = [compare_results([each], [run(1.03)], regression_percent=0) for each in baseline]
    allowed = [compare_results([each], [run(1.05)], regression_percent=5) for each in baseline]
    # Of 200 runs, 2.5% are 5 and 11 or more have a probability below 1%; 90% are 180.
    assert sum(each.regressed for each in alike) <= 10
    assert sum(each.regressed for each in allowed) <= 10
    assert sum(each.regressed for each in slower) >= 180
