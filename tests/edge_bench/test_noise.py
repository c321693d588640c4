import numpy as np
import pytest

from edgeml.core.bench_result import Contender, Launch
from edgeml.edge_bench.noise import drift, launch_spread, noise_warnings, outlier_share, scatter, two_modes
from tests.made_results import make_contender

BLOCKS = np.repeat(np.arange(5), 40)


def launches(latency_ms: list[np.ndarray], stable: bool = True) -> tuple[Launch, ...]:
    return tuple(
        Launch(
            latency_ms=tuple(float(value) for value in values),
            block=tuple(int(block) for block in BLOCKS),
            warmup=3,
            stable=stable,
            load_ms=1.0,
            peak_memory_bytes=1,
        )
        for values in latency_ms
    )


def contender(measured: tuple[Launch, ...]) -> Contender:
    return make_contender(launches=measured)


def quiet(seed: int = 0, count: int = 5) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    return [2.0 * generator.lognormal(0, 0.01, len(BLOCKS)) for _ in range(count)]


@pytest.mark.parametrize("seed", range(20))
def test_a_quiet_run_gives_no_warning(seed: int) -> None:
    assert noise_warnings(contender(launches(quiet(seed)))) == ()


def test_a_device_whose_timings_mean_nothing_has_no_noise() -> None:
    assert noise_warnings(contender(())) == ()


def test_scatter_within_launches_is_told() -> None:
    generator = np.random.default_rng(1)
    noisy = launches([generator.lognormal(0, 0.2, len(BLOCKS)) for _ in range(5)])
    assert scatter(noisy) == pytest.approx(0.2, rel=0.1)
    assert any("scatter by" in warning for warning in noise_warnings(contender(noisy)))


def test_launches_that_differ_are_told() -> None:
    uneven = launches([values * factor for values, factor in zip(quiet(), (1, 1.3, 0.8, 1.1, 1.5), strict=True)])
    assert launch_spread(uneven) > 0.2
    assert any("medians of launches differ" in warning for warning in noise_warnings(contender(uneven)))


def test_drift_is_told_only_where_the_launches_agree_on_it() -> None:
    rising = launches([values * (1 + 0.025 * BLOCKS) for values in quiet()])
    assert drift(rising) == pytest.approx(0.1, abs=0.01)
    assert any("latency rose by 10%" in warning for warning in noise_warnings(contender(rising)))
    mixed = [values * (1 + sign * 0.025 * BLOCKS) for values, sign in zip(quiet(), (1, -1, 1, -1, 1), strict=True)]
    assert drift(launches(mixed)) == 0.0


def test_outliers_are_counted() -> None:
    disturbed = [np.where(np.arange(len(BLOCKS)) % 10 == 0, 5 * values, values) for values in quiet()]
    assert outlier_share(launches(disturbed)) == pytest.approx(0.1)
    assert any(
        "10% of the samples are outliers" in warning for warning in noise_warnings(contender(launches(disturbed)))
    )


def test_two_modes_are_found_and_one_is_not_split() -> None:
    both = [np.where(np.arange(len(BLOCKS)) % 3 == 0, 1.3 * values, values) for values in quiet()]
    modes = two_modes(launches(both))
    assert modes == pytest.approx((2.0, 2.6), rel=0.01)
    generator = np.random.default_rng(3)
    assert two_modes(launches([generator.uniform(1, 2, len(BLOCKS)) for _ in range(5)])) is None
    assert two_modes(launches([1 + generator.exponential(0.1, len(BLOCKS)) for _ in range(5)])) is None
    assert two_modes(launches([np.full(len(BLOCKS), 2.0)])) is None


def test_a_warm_up_that_did_not_settle_is_told() -> None:
    assert any("had not settled" in warning for warning in noise_warnings(contender(launches(quiet(), stable=False))))
