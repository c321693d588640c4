"""Requests that wait for an instance: by priority, then as they came."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from edgeml.serving.engine.batch import Pending


class WaitingRequests:
    """A queue for each priority, the first of which is served first."""

    def __init__(self, levels: int) -> None:
        self._queues: tuple[deque[Pending], ...] = tuple(deque() for _ in range(max(1, levels)))
        self.rows = 0

    def __len__(self) -> int:
        return sum(map(len, self._queues))

    def __iter__(self) -> Iterator[Pending]:
        """In the order they will be served."""
        for queue in self._queues:
            yield from queue

    def add(self, pending: Pending, priority: int) -> None:
        """Let a request wait; `priority` counts from 1."""
        self._queues[min(priority, len(self._queues)) - 1].append(pending)
        self.rows += pending.rows

    def remove(self, pending: Pending) -> bool:
        """Take a request out; whether it waited."""
        for queue in self._queues:
            if pending in queue:
                queue.remove(pending)
                self.rows -= pending.rows
                return True
        return False

    def joinable(self, largest: int) -> tuple[int, int]:
        """How many requests from the first one on can run together in `largest` samples, and their samples."""
        count = rows = 0
        key = None
        for pending in self:
            if key is None:
                key = pending.key
            elif pending.key != key or rows + pending.rows > largest:
                break
            count += 1
            rows += pending.rows
        return count, rows

    def take(self, count: int) -> list[Pending]:
        """The first `count` requests, which then no longer wait."""
        taken: list[Pending] = []
        for queue in self._queues:
            while queue and len(taken) < count:
                taken.append(queue.popleft())
        self.rows -= sum(pending.rows for pending in taken)
        return taken
