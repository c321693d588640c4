"""Measures on several devices at the same time: one thread each, which mostly waits for its device."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from edgeml.core.errors import EdgeMLError
from edgeml.edge_bench.measure import Progress

T = TypeVar("T")

_POLL_S = 0.2
_FAREWELL_S = 15.0


class Interrupted(BaseException):
    """Raised in a job's thread, at the next progress it tells, after the user ended the command."""


def at_once(jobs: Sequence[Callable[[], T]], stop: threading.Event | None = None) -> list[T | EdgeMLError]:
    """What each job gives, or the error that it ended with; the others go on.

    Args:
        jobs: what to do, each in a thread of its own.
        stop: set where the user interrupts; the jobs are then given some seconds to clean up.

    Raises:
        KeyboardInterrupt: the user interrupted.
        BaseException: a job ended with something else than an EdgeMLError: a mistake in the program.
    """
    threads = [_Job(job) for job in jobs]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            while thread.is_alive():
                thread.join(_POLL_S)  # a join without an end could not be interrupted everywhere
    except KeyboardInterrupt:
        if stop is not None:
            stop.set()
        for thread in threads:
            thread.join(_FAREWELL_S / len(threads))
        raise
    return [thread.outcome() for thread in threads]


def stopping(progress: Progress, stop: threading.Event) -> Progress:
    """The same progress, which ends the job that tells it once the user has interrupted."""

    def tell(task: str, share: float) -> None:
        if stop.is_set():
            raise Interrupted
        progress(task, share)

    return tell


class _Job(threading.Thread, Generic[T]):
    """A thread that keeps what its job gave. It never keeps the program from ending."""

    def __init__(self, job: Callable[[], T]) -> None:
        super().__init__(daemon=True)
        self._job = job
        self._found: list[T] = []
        self._error: BaseException | None = None

    def run(self) -> None:
        """Do the job."""
        try:
            self._found.append(self._job())
        except BaseException as error:  # noqa: BLE001 (raised again by whoever asks for the outcome)
            self._error = error

    def outcome(self) -> T | EdgeMLError:
        """What the job gave, once it has ended."""
        if isinstance(self._error, EdgeMLError):
            return self._error
        if self._error is not None:
            raise self._error
        return self._found[0]
