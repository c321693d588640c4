from __future__ import annotations

import threading

import pytest

from edgeml.core.errors import EdgeMLError, MissingError
from edgeml.edge_bench.several import Interrupted, at_once, stopping


def test_jobs_run_at_the_same_time_and_a_failure_stops_no_other() -> None:
    meeting = threading.Barrier(2, timeout=30)

    def fail() -> int:
        meeting.wait()
        raise MissingError("device pi does not answer")

    def work() -> int:
        meeting.wait()
        return 7

    failed, found = at_once([fail, work])
    assert isinstance(failed, EdgeMLError)
    assert found == 7


def test_a_mistake_in_the_program_is_not_hidden() -> None:
    def wrong() -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        at_once([wrong, lambda: 1])


def test_an_interrupted_command_ends_its_jobs_where_they_tell_of_progress() -> None:
    stop = threading.Event()
    told: list[float] = []
    tell = stopping(lambda _task, share: told.append(share), stop)
    tell("launch 1", 0.5)
    stop.set()
    with pytest.raises(Interrupted):
        tell("launch 2", 0.6)
    assert told == [0.5]
