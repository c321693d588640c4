import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import signal, stats

from edgeml.core.bench_result import Contender, Launch
from edgeml.edge_bench.statistics import (
    Ratio,
    compare,
    holm,
    median,
    minimum_samples,
    percentile,
    samples_needed,
    summarize,
    verdicts,
)
from edgeml.edge_bench.statistics_apart import compare_apart
from tests.made_results import make_contender

Generator = np.random.Generator


def launch(latency_ms: np.ndarray) -> Launch:
    samples = tuple(float(value) for value in latency_ms)
    return Launch(
        latency_ms=samples, block=(0,) * len(samples), warmup=1, stable=True, load_ms=1.0, peak_memory_bytes=1
    )


def simulate(
    generator: Generator, centre: float, *, launches: int, samples: int, between: float, common: np.ndarray
) -> list[Launch]:
    """Launches as machines give them: levels that differ by launch, slow waves, drift and a tail of disturbed runs."""
    found = []
    for index in range(launches):
        wave = np.zeros(samples)
        steps = 0.02 * generator.standard_normal(samples)
        for time in range(1, samples):
            wave[time] = 0.9 * wave[time - 1] + math.sqrt(1 - 0.9**2) * steps[time]
        drift = 0.02 * np.linspace(0, 1, samples)
        tail = np.where(generator.random(samples) < 0.05, generator.exponential(0.3, samples), 0.0)
        level = math.log(centre) + between * generator.standard_normal() + common[index]
        found.append(launch(np.exp(level + wave + drift + tail)))
    return found


@pytest.mark.parametrize(("share", "samples"), [(0.90, 64), (0.95, 130), (0.99, 662)])
def test_percentiles_need_the_samples_that_loadgen_asks_for(share: float, samples: int) -> None:
    assert minimum_samples(share) == samples
    assert stats.binom.cdf(1, samples, 1 - share) <= 0.01 < stats.binom.cdf(1, samples - 1, 1 - share)


def contender(launches: tuple[Launch, ...]) -> Contender:
    return make_contender(launches=launches)


def test_a_percentile_is_refused_just_below_its_fewest_samples() -> None:
    generator = np.random.default_rng(0)
    enough = [launch(generator.lognormal(0, 0.1, 32)), launch(generator.lognormal(0, 0.1, 32))]
    too_few = [enough[0], launch(generator.lognormal(0, 0.1, 31))]
    found = percentile(enough, 0.90)
    assert found is not None
    assert found.ci95[0] <= found.value <= found.ci95[1]
    assert percentile(too_few, 0.90) is None
    assert percentile(enough, 0.99) is None


def test_a_refused_percentile_says_how_many_samples_it_needs() -> None:
    generator = np.random.default_rng(0)
    summary = summarize(contender(tuple(launch(generator.lognormal(0, 0.1, 60)) for _ in range(5))))
    assert summary is not None
    assert summary.samples == 300
    assert summary.p95 is not None
    assert summary.p99 is None
    assert [str(each) for each in summary.refused] == ["p99 needs 662 samples, 300 taken"]
    assert (summary.needs("p99"), summary.needs("p95")) == (662, None)


def test_a_contender_without_launches_has_no_figures() -> None:
    assert summarize(contender(())) is None


@pytest.mark.parametrize(("share", "fewest"), [(0.90, 7), (0.95, 13), (0.99, 67)])
def test_many_short_launches_do_not_make_a_percentile(share: float, fewest: int) -> None:
    assert samples_needed(share, 5) == minimum_samples(share)
    assert samples_needed(share, 1000) == 1000 * fewest
    values = np.arange(1.0, fewest + 1)
    assert np.quantile(values, share, method="median_unbiased") <= values[-1]
    # One sample less, and the rule would look for the percentile beyond the largest.
    assert (fewest - 1 + 1 / 3) * share + 1 / 3 > fewest - 1


def test_a_percentile_is_the_geometric_mean_of_the_launches_percentiles() -> None:
    generator = np.random.default_rng(0)
    samples = [generator.lognormal(0, 0.1, 50) for _ in range(4)]
    logs = np.log([np.quantile(each, 0.9, method="median_unbiased") for each in samples])
    reference = stats.ttest_1samp(logs, 0).confidence_interval(0.95)
    found = percentile([launch(each) for each in samples], 0.9)
    assert found is not None
    assert found.value == pytest.approx(np.exp(logs.mean()))
    assert found.ci95 == pytest.approx((np.exp(reference.low), np.exp(reference.high)))


def test_the_median_interval_is_students_over_launches() -> None:
    launches = [launch(np.full(9, value)) for value in (1.0, 1.1, 1.2, 1.1)]
    logs = np.log([1.0, 1.1, 1.2, 1.1])
    reference = stats.ttest_1samp(logs, 0).confidence_interval(0.95)
    found = median(launches)
    assert found.value == pytest.approx(np.exp(logs.mean()))
    assert found.ci95 == pytest.approx((np.exp(reference.low), np.exp(reference.high)))


def test_a_single_launch_gives_the_range_of_its_samples() -> None:
    found = median([launch(np.array([1.0, 2.0, 4.0]))])
    assert found.value == pytest.approx(2.0)
    assert found.ci95 == (1.0, 4.0)


def test_the_ratio_is_that_of_the_medians_and_tested_by_pairs() -> None:
    a = [launch(np.full(5, value)) for value in (1.0, 1.2, 0.9)]
    b = [launch(np.full(5, value)) for value in (2.0, 2.3, 1.9)]
    found = compare(a, b)
    reference = stats.ttest_rel(np.log([2.0, 2.3, 1.9]), np.log([1.0, 1.2, 0.9]))
    assert found.value == pytest.approx(median(b).value / median(a).value)
    assert found.p_value == pytest.approx(reference.pvalue)
    assert found.ci95 == pytest.approx(tuple(np.exp(reference.confidence_interval(0.95))))
    assert compare(b, a).value == pytest.approx(1 / found.value)


def coverage(covers: Callable[[Generator], bool], trials: int) -> float:
    generator = np.random.default_rng(20)
    return sum(covers(generator) for _ in range(trials)) / trials


SHAPES: dict[str, Callable[[Generator, tuple[int, int]], np.ndarray]] = {
    "normal": lambda g, shape: 1 + 0.03 * g.standard_normal(shape),
    "lognormal": lambda g, shape: 1 + 0.05 * np.exp(g.standard_normal(shape)),
    "student t3": lambda g, shape: np.exp(0.02 * g.standard_t(3, shape)),
    "bimodal": lambda g, shape: np.where(g.random(shape) < 0.3, 1.3, 1.0) + 0.02 * g.standard_normal(shape),
    "AR(1) 0.9": lambda g, shape: np.exp(
        signal.lfilter([0.03 * math.sqrt(1 - 0.9**2)], [1.0, -0.9], g.standard_normal((shape[0], shape[1] + 50)))[
            :, 50:
        ]
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_intervals_cover_the_truth_whatever_shape_the_samples_have(shape: str) -> None:
    truth = float(np.median(SHAPES[shape](np.random.default_rng(1), (2000, 400))))
    held = np.zeros(3)
    generator = np.random.default_rng(2)
    for _ in range(400):
        level = np.exp(0.01 * generator.standard_normal((2, 5, 1)))
        a, b = ([launch(row) for row in level[index] * SHAPES[shape](generator, (5, 100))] for index in range(2))
        found = median(a).ci95, compare(a, b).ci95, compare_apart([a], [b]).ci95
        held += [low <= true <= high for (low, high), true in zip(found, (truth, 1.0, 1.0), strict=True)]
    # 400 runs of a 95% interval: a share outside [0.92, 0.978] has a probability below 1%.
    assert (held / 400 >= 0.92).all(), held / 400
    assert (held / 400 <= 0.978).all(), held / 400


@pytest.mark.parametrize(("between", "drift"), [(0.005, 0.0), (0.03, 0.1)])
def test_ratio_intervals_cover_the_truth_in_95_of_100_runs(between: float, drift: float) -> None:
    def covers(generator: Generator) -> bool:
        common = drift * np.cumsum(generator.standard_normal(5))  # what the machine does to both contenders alike
        a = simulate(generator, 1.0, launches=5, samples=60, between=between, common=common)
        b = simulate(generator, 1.5, launches=5, samples=60, between=between, common=common)
        low, high = compare(a, b).ci95
        return low <= 1.5 <= high

    # 400 runs of a 95% interval: a share outside [0.92, 0.978] has a probability below 1%.
    assert 0.92 <= coverage(covers, 400) <= 0.978


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_percentile_intervals_cover_the_truth_in_95_of_100_runs(share: float) -> None:
    between, none = 0.02, np.zeros(1000)
    # Of launches at one level: what a typical launch has.
    population = simulate(np.random.default_rng(1), 1.0, launches=1000, samples=60, between=0.0, common=none)
    truth = np.quantile([sample for each in population for sample in each.latency_ms], share)

    def covers(generator: Generator) -> bool:
        launches = simulate(generator, 1.0, launches=5, samples=60, between=between, common=none)
        found = percentile(launches, share)
        assert found is not None
        return bool(found.ci95[0] <= truth <= found.ci95[1])

    # As above; samples that are correlated in time leave a tail a little lower than it is.
    assert 0.91 <= coverage(covers, 400) <= 0.975


def test_equal_contenders_are_called_different_in_at_most_5_of_100_runs() -> None:
    def differs(generator: Generator) -> bool:
        common = 0.05 * generator.standard_normal(5)
        a = simulate(generator, 1.0, launches=5, samples=40, between=0.02, common=common)
        b = simulate(generator, 1.0, launches=5, samples=40, between=0.02, common=common)
        return verdicts([compare(a, b)]) != ("no difference shown",)

    assert coverage(differs, 400) <= 0.05 + 2.33 * math.sqrt(0.05 * 0.95 / 400)


def test_a_difference_needs_an_interval_clear_of_1_and_a_size_worth_naming() -> None:
    clear = Ratio(value=1.5, ci95=(1.4, 1.6), p_value=1e-4)
    tiny = Ratio(value=1.005, ci95=(1.004, 1.006), p_value=1e-4)
    vague = Ratio(value=1.5, ci95=(0.9, 2.5), p_value=0.2)
    slower = Ratio(value=0.5, ci95=(0.4, 0.6), p_value=1e-4)
    assert verdicts([clear]) == ("faster",)
    assert verdicts([slower]) == ("slower",)
    assert verdicts([tiny, vague]) == ("no difference shown", "no difference shown")
    assert verdicts([]) == ()


def test_holm_asks_more_of_each_where_many_are_compared() -> None:
    ratio = Ratio(value=1.2, ci95=(1.01, 1.4), p_value=0.03)
    strong = Ratio(value=2.0, ci95=(1.9, 2.1), p_value=1e-5)
    assert verdicts([ratio]) == ("faster",)
    assert verdicts([ratio, ratio]) == ("no difference shown", "no difference shown")
    assert verdicts([strong, ratio]) == ("faster", "faster")


def test_holm_refutes_in_the_order_of_the_p_values() -> None:
    assert holm([0.04, 0.001, 0.02], 0.05) == (True, True, True)
    assert holm([0.04, 0.001, 0.03], 0.05) == (False, True, False)
    assert holm([], 0.05) == ()
