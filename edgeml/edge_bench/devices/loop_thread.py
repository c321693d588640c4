"""An asyncio event loop in a thread of its own, for code that waits as usual."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")
_STOP_TIMEOUT_S = 5.0


class LoopThread:
    """The loop; `close` ends it."""

    def __init__(self, name: str) -> None:
        """Start the thread.

        Args:
            name: the thread's.
        """
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def call(self, work: Coroutine[Any, Any, T], timeout_s: float | None = None) -> T:
        """Do the work in the loop and wait for what it gives.

        Raises:
            TimeoutError: it took longer than `timeout_s` seconds and was cancelled.
            RuntimeError: the loop is closed.
        """
        if self._loop.is_closed():
            work.close()
            raise RuntimeError("the event loop is closed")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(timeout_s)
        except concurrent.futures.TimeoutError:
            future.cancel()
            raise TimeoutError(f"nothing within {timeout_s} s") from None
        except BaseException:
            future.cancel()
            raise

    def soon(self, call: Callable[[], object]) -> None:
        """Have the loop call something, without waiting; nothing where the loop is closed."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(call)

    def close(self) -> None:
        """Cancel what is still being done and end the thread."""
        if self._loop.is_closed():
            return
        with suppress(TimeoutError, concurrent.futures.CancelledError):
            self.call(_cancel_all(), _STOP_TIMEOUT_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _cancel_all() -> None:
    tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
