import numpy as np
import pytest
from scipy import stats

from edgeml.core.bench_result import Launch
from edgeml.edge_bench.statistics import median
from edgeml.edge_bench.statistics_apart import compare_apart, exceeds_probability, median_of_runs


def run(*medians: float) -> tuple[Launch, ...]:
    """A run whose launches have these medians."""
    return tuple(
        Launch(latency_ms=(value,) * 5, block=(0,) * 5, warmup=1, stable=True, load_ms=1.0, peak_memory_bytes=1)
        for value in medians
    )


def test_one_run_each_is_compared_by_welchs_t_over_launches() -> None:
    a, b = (1.0, 1.2, 0.9, 1.1), (2.0, 2.3, 1.9)
    found = compare_apart([run(*a)], [run(*b)])
    reference = stats.ttest_ind(np.log(b), np.log(a), equal_var=False)
    assert found.value == pytest.approx(np.exp(np.log(b).mean() - np.log(a).mean()))
    assert found.p_value == pytest.approx(reference.pvalue)
    assert found.ci95 == pytest.approx(tuple(np.exp(reference.confidence_interval(0.95))))


def test_repeated_runs_are_compared_by_students_t_over_runs() -> None:
    a, b = ((1.0, 1.2), (0.9, 1.1), (1.0, 1.0)), ((2.0, 2.3), (1.9, 1.8))
    found = compare_apart([run(*each) for each in a], [run(*each) for each in b])
    reference = stats.ttest_ind(np.log(b).mean(axis=1), np.log(a).mean(axis=1))
    assert found.p_value == pytest.approx(reference.pvalue)
    assert found.ci95 == pytest.approx(tuple(np.exp(reference.confidence_interval(0.95))))


def test_a_slowdown_beyond_a_factor_is_tested_from_one_side() -> None:
    a, b = (1.0, 1.02, 0.99, 1.01), (1.1, 1.13, 1.09)
    runs = [run(*a)], [run(*b)]
    reference = stats.ttest_ind(np.log(b), np.log(a) + np.log(1.05), equal_var=False, alternative="greater")
    assert exceeds_probability(*runs, 1.05) == pytest.approx(reference.pvalue)
    assert exceeds_probability(*runs, 1.0) < exceeds_probability(*runs, 1.05)


def test_launches_without_any_scatter_are_told_apart() -> None:
    a, b = [run(1.0, 1.0, 1.0)], [run(1.1, 1.1, 1.1)]
    assert compare_apart(a, b).p_value == 0.0
    assert compare_apart(a, a).p_value == 1.0
    assert exceeds_probability(a, b, 1.05) == 0.0
    assert exceeds_probability(a, b, 1.2) == 1.0


def test_the_median_of_runs_is_that_of_a_typical_one() -> None:
    once, again = run(1.0, 1.2, 1.1), run(1.3, 1.2, 1.1)
    assert median_of_runs([once]) == median(once)
    found = median_of_runs([once, again])
    assert found.value == pytest.approx(np.sqrt(median(once).value * median(again).value))
    assert found.ci95[0] < found.value < found.ci95[1]


@pytest.mark.parametrize(("baseline", "judged"), [(3, 1), (3, 3)])
def test_runs_that_differ_are_seldom_called_different_where_they_are_repeated(baseline: int, judged: int) -> None:
    generator = np.random.default_rng(4)

    def runs(count: int) -> list[tuple[Launch, ...]]:
        levels = 0.02 * generator.standard_normal((count, 1)) + 0.01 * generator.standard_normal((count, 5))
        return [run(*np.exp(each)) for each in levels]

    different = sum(compare_apart(runs(baseline), runs(judged)).p_value < 0.05 for _ in range(400))
    # Of 400, 5% are 20; 32 or more have a probability below 1%.
    assert different <= 31
