"""Lines of a program that one thread reads and another waits for."""

from __future__ import annotations

import queue


class Lines:
    """What a program printed and nobody has taken yet."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def add(self, line: str) -> None:
        """The program printed a line."""
        self._queue.put(line)

    def end(self) -> None:
        """No more will come."""
        self._queue.put(None)

    def take(self, timeout_s: float) -> str | None:
        """The next line; None, now and from then on, where no more will come.

        Raises:
            TimeoutError: there was none in that time.
        """
        try:
            line = self._queue.get(timeout=timeout_s)
        except queue.Empty:
            raise TimeoutError(f"no line within {timeout_s} s") from None
        if line is None:
            self._queue.put(None)
        return line
