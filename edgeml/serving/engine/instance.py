"""A thread that runs one thing after another for the event loop."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import TypeVar

from edgeml.serving.engine.callbacks import Callbacks

T = TypeVar("T")
_Job = Callable[[], None]


class Instance:
    """One place where a batch can run; all methods are called on the event loop.

    A queue to the thread and one callback back are the whole way: an executor's futures and locks would double it.
    """

    def __init__(self, name: str, loop: asyncio.AbstractEventLoop) -> None:
        self._callbacks = Callbacks(loop)
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        # A daemon: a model that hangs must not keep the server from ending.
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def run(self, job: Callable[[], T], done: Callable[[T], None]) -> None:
        """Call `job` on the thread, then `done` with its result on the event loop. `job` must not raise."""

        def work() -> None:
            self._callbacks.call(done, job())

        self._jobs.put(work)

    def close(self) -> None:
        """End the thread once what it was given is done; does not wait."""
        self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
            del job  # its arrays are freed now, not when the next one comes
        self._callbacks.end()
