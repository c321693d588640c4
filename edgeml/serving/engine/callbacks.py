"""How a thread has functions called on the event loop."""

from __future__ import annotations

import asyncio
import os
import sys
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

_NOTICES = 4096


class Callbacks:
    """Calls functions on the event loop for one thread.

    `loop.call_soon_threadsafe` does the same, and wakes the loop while the caller still holds Python's lock: the loop
    wakes, waits for the lock, and sleeps again. A write to a pipe gives the lock away first, which saves a model's
    answer some 40 microseconds. Windows' event loops cannot wait for pipes, so it is used there.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """To be called on the event loop."""
        self._loop = loop
        self._waiting: deque[tuple[Callable[[Any], None], Any]] = deque()
        if sys.platform == "win32":
            return
        reading, self._writing = os.pipe()
        for descriptor in (reading, self._writing):
            os.set_blocking(descriptor, False)
        self._reading = reading
        # Where the loop ends before the thread does, nobody else would.
        self._close = weakref.finalize(self, os.close, reading)
        loop.add_reader(reading, self._call)

    def call(self, function: Callable[[Any], None], argument: Any) -> None:
        """Have a function called; on the thread. Once the loop is closed, nothing is."""
        if sys.platform == "win32":
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(function, argument)
            return
        self._waiting.append((function, argument))
        with suppress(BlockingIOError, BrokenPipeError):  # full of notices, one of which will do; or nobody reads
            os.write(self._writing, b"\0")

    def end(self) -> None:
        """Nothing more is to be called; on the thread. What was asked for before still is."""
        if sys.platform != "win32":
            os.close(self._writing)

    def _call(self) -> None:
        ended = not os.read(self._reading, _NOTICES)
        while self._waiting:
            function, argument = self._waiting.popleft()
            try:
                function(argument)
            except Exception as error:  # noqa: BLE001 (the others are called, as the loop itself has it)
                self._loop.call_exception_handler({"message": f"{function!r} failed", "exception": error})
        if ended:
            self._loop.remove_reader(self._reading)
            self._close()
