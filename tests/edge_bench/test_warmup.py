from collections.abc import Sequence

from edgeml.edge_bench.warmup import FEWEST_RUNS, WINDOW, settled, warm_up

MS = 1_000_000


class Model:
    """Runs that cost what a script says."""

    def __init__(self, latencies_ms: Sequence[float], last_ms: float) -> None:
        self._script = list(latencies_ms)
        self._last_ms = last_ms
        self.runs = 0

    def take(self, runs: int) -> list[int]:
        found = []
        for _ in range(runs):
            found.append(int((self._script.pop(0) if self._script else self._last_ms) * MS))
            self.runs += 1
        return found


def test_medians_that_agree_have_settled() -> None:
    assert settled([9.0, 2.0, 2.01, 1.99, 2.0, 2.02])
    assert not settled([2.0] * (WINDOW - 1))
    assert not settled([2.0, 2.0, 2.0, 2.0, 2.2])


def test_medians_that_all_fall_or_all_rise_have_not_settled() -> None:
    assert not settled([2.04, 2.03, 2.02, 2.01, 2.0])
    assert not settled([2.0, 2.01, 2.02, 2.03, 2.04])


def test_a_slow_start_is_run_off() -> None:
    model = Model([50, 20, 15, 14], last_ms=12)
    result = warm_up(model.take, limit_ns=10_000 * MS)
    assert result.stable
    assert result.runs == model.runs == 4 + WINDOW
    assert result.latency_ns == 12 * MS


def test_the_time_limit_ends_a_warm_up_that_never_settles() -> None:
    model = Model([float(100 + index % 2 * 50) for index in range(1000)], last_ms=1)
    result = warm_up(model.take, limit_ns=1000 * MS)
    assert not result.stable
    assert 8 <= result.runs <= 10


def test_a_very_slow_model_is_still_run_twice() -> None:
    model = Model([], last_ms=5000)
    assert warm_up(model.take, limit_ns=MS).runs == FEWEST_RUNS


def test_short_runs_are_judged_by_blocks_of_many() -> None:
    model = Model([], last_ms=0.01)
    result = warm_up(model.take, limit_ns=1000 * MS)
    assert result.stable
    assert result.runs > 1000
