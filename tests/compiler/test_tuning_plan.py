"""Trials go where the time goes, and none are lost."""

from hypothesis import given
from hypothesis import strategies as st

from edgeml.compiler.tuning.plan import LEAST_TRIALS, share_trials


def test_trials_are_dealt_out_in_proportion_to_time() -> None:
    assert share_trials(100, {"a": 3.0, "b": 1.0}) == {"a": 75, "b": 25}


def test_what_too_small_a_share_would_have_had_goes_to_the_others() -> None:
    assert share_trials(10, {"a": 9.0, "b": 1.0}) == {"a": 10, "b": 0}


def test_functions_that_take_no_time_get_no_trials() -> None:
    assert share_trials(10, {"a": 0.0}) == {"a": 0}
    assert share_trials(10, {}) == {}


def test_fewer_trials_than_a_search_is_worth_go_to_the_slowest_function() -> None:
    assert share_trials(2, {"a": 1.0, "b": 5.0}) == {"a": 0, "b": 2}


@given(st.integers(1, 5000), st.dictionaries(st.text("abcdef", min_size=1), st.floats(1e-7, 10), min_size=1))
def test_all_trials_are_given_and_slower_functions_get_no_fewer(trials: int, seconds: dict[str, float]) -> None:
    shares = share_trials(trials, seconds)
    assert sum(shares.values()) == trials
    assert all(count == 0 or count >= min(LEAST_TRIALS, trials) - 1 for count in shares.values())
    by_time = sorted(seconds, key=lambda name: seconds[name])
    for slower, faster in zip(by_time[1:], by_time[:-1], strict=True):
        assert shares[slower] >= shares[faster] or seconds[slower] == seconds[faster]
