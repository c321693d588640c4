import numpy as np
import pytest

from edgeml.core.errors import UsageError
from edgeml.core.samples import Samples
from edgeml.edge_bench.accuracy import check_labels, paired_difference, top1, wilson


def samples(labels: list[int]) -> Samples:
    return Samples("toy:test", np.zeros((len(labels), 1, 2, 2), np.float32), np.array(labels, np.int64), ())


def pairs(both: int, only_a: int, only_b: int, neither: int) -> tuple[tuple[bool, ...], tuple[bool, ...]]:
    a = (True,) * (both + only_a) + (False,) * (only_b + neither)
    return a, (True,) * both + (False,) * only_a + (True,) * only_b + (False,) * neither


def test_top1_counts_the_largest_logit_and_no_sample_that_is_no_number() -> None:
    logits = np.array([[0, 1], [1, 0], [0, np.nan], [2, 1]], np.float32)
    found = top1(logits, samples([1, 1, 1, 0]))
    assert found.correct == (True, False, False, True)
    assert (found.value, found.samples, found.data, found.metric) == (0.5, 4, "toy:test", "top-1")
    assert found.ci95[0] < 0.5 < found.ci95[1]


def test_wilson_matches_its_published_example() -> None:
    # Newcombe, "Two-sided confidence intervals for the single proportion" (1998), table I: 81 of 263.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)


@pytest.mark.parametrize(
    ("table", "difference", "interval"),
    [
        # Altman et al., "Statistics with confidence" (2000), page 52.
        ((14, 5, 0, 22), 0.122, (0.011, 0.226)),
        # Bentur et al. (2009) as worked in Fagerland et al., "Statistical analysis of contingency tables", chapter 8.
        ((1, 1, 7, 12), -0.286, (-0.507, -0.026)),
    ],
)
def test_paired_differences_match_published_examples(
    table: tuple[int, int, int, int], difference: float, interval: tuple[float, float]
) -> None:
    found, ends = paired_difference(*pairs(*table))
    assert found == pytest.approx(difference, abs=5e-4)
    assert ends == pytest.approx(interval, abs=5.5e-4)


def test_paired_intervals_cover_the_truth_in_95_of_100_data_sets() -> None:
    generator = np.random.default_rng(0)
    shares = np.array([0.88, 0.03, 0.02, 0.07])  # both right, only a, only b, neither
    inside = 0
    for table in generator.multinomial(1000, shares, size=600):
        _, (low, high) = paired_difference(*pairs(*(int(count) for count in table)))
        inside += low <= 0.01 <= high
    assert 0.924 <= inside / 600 <= 0.985


def test_a_model_against_itself_differs_by_nothing() -> None:
    a, _ = pairs(90, 0, 0, 10)
    difference, (low, high) = paired_difference(a, a)
    assert difference == 0
    assert low == pytest.approx(-high)
    assert high < 0.04
    everything_right = (True,) * 20
    assert paired_difference(everything_right, everything_right)[0] == 0


def test_labels_must_be_outputs_of_the_model() -> None:
    check_labels(samples([0, 9]), 10)
    check_labels(samples([0, 9]), "classes")
    with pytest.raises(UsageError, match="labels from 0 to 10 and the model has 10 outputs"):
        check_labels(samples([0, 10]), 10)
    with pytest.raises(UsageError, match="holds no samples"):
        check_labels(samples([]), 10)
    with pytest.raises(UsageError, match="one row of logits a sample"):
        top1(np.zeros((2, 3, 4), np.float32), samples([0, 1]))
