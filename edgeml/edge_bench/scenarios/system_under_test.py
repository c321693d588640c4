"""What LoadGen calls the system under test: takes queries and answers them with runs of a model."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any, Protocol

Complete = Callable[[Sequence[int]], None]
"""Tells LoadGen that the samples with these identifiers are answered."""


class Runs:
    """Runs of a model, counted and timed.

    An exception must not reach LoadGen, which would leave its own threads behind: the first one is kept, and from then
    on nothing is run.

    Attributes:
        count: runs made.
        spent_ns: time in them, in nanoseconds.
        error: what the first failed run raised.
    """

    def __init__(self, run: Callable[[int], object]) -> None:
        """Runs of `run`, which takes the index of what to feed."""
        self._run = run
        self.count = 0
        self.spent_ns = 0
        self.error: BaseException | None = None

    def make(self, index: int) -> None:
        """Run the model, unless a run has failed."""
        if self.error is not None:
            return
        try:
            begin = time.perf_counter_ns()
            self._run(index)
            self.spent_ns += time.perf_counter_ns() - begin
            self.count += 1
        except BaseException as error:  # noqa: BLE001 (raised again once LoadGen has ended)
            self.error = error


class System(Protocol):
    """What LoadGen drives."""

    def issue(self, samples: Sequence[Any]) -> None:
        """LoadGen's IssueQuery: each sample has an `id`, and an `index` that says what to feed."""
        ...

    def flush(self) -> None:
        """LoadGen's FlushQueries: no more queries will come."""
        ...

    def drive(self, test: Callable[[], None]) -> None:
        """Run LoadGen's test to its end.

        The model is run by the thread that calls this: runtimes keep their pools of threads by calling thread.
        """
        ...


class InlineSystem:
    """Answers a query before LoadGen sends the next: single-stream, multi-stream and offline; a System."""

    def __init__(self, runs: Runs, batch: int, complete: Complete) -> None:
        """The system whose runs take `batch` samples each; the last run of a query may be filled up."""
        self._runs = runs
        self._batch = batch
        self._complete = complete

    def issue(self, samples: Sequence[Any]) -> None:
        """Answer them."""
        for start in range(0, len(samples), self._batch):
            part = samples[start : start + self._batch]
            self._runs.make(part[0].index)
            self._complete([sample.id for sample in part])

    def flush(self) -> None:
        """Nothing waits."""

    def drive(self, test: Callable[[], None]) -> None:
        """Run it here."""
        test()


class QueuedSystem:
    """Lets queries come while others are answered, first come, first served, one sample a run: server; a System."""

    def __init__(self, runs: Runs, complete: Complete) -> None:
        """The system of these runs."""
        self._runs = runs
        self._complete = complete
        self._queue: SimpleQueue[Sequence[tuple[int, int]] | None] = SimpleQueue()
        self._flushed = threading.Event()

    def issue(self, samples: Sequence[Any]) -> None:
        """Put them in the queue."""
        self._queue.put([(sample.id, sample.index) for sample in samples])

    def flush(self) -> None:
        """Let go of what a failed run held back."""
        self._flushed.set()
        self._queue.put([])

    def drive(self, test: Callable[[], None]) -> None:
        """Run it in a thread of its own, and answer its queries in this one."""

        def run_test() -> None:
            try:
                test()
            finally:
                self._queue.put(None)

        thread = threading.Thread(target=run_test, name="loadgen", daemon=True)
        thread.start()
        waiting: list[int] = []
        while (samples := self._next()) is not None:
            for identifier, index in samples:
                self._runs.make(index)
                waiting.append(identifier)
            # After a failed run nothing is answered, so that LoadGen soon finds too many queries waiting and ends.
            if waiting and (self._runs.error is None or self._flushed.is_set()):
                self._complete(waiting)
                waiting = []
        thread.join()

    def _next(self) -> Sequence[tuple[int, int]] | None:
        try:
            return self._queue.get()
        except KeyboardInterrupt as interrupt:  # LoadGen's thread must end before this one leaves
            self._runs.error = interrupt
        return self._next()
