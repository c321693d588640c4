"""Sequences of requests that share state: one request of each at a time, in order, and an end when nothing comes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from edgeml.serving.engine.batch import Pending
from edgeml.serving.errors import InvalidRequestError, UnavailableError
from edgeml.serving.inference import Sequence


@dataclass(slots=True)
class _Open:
    """A sequence that is open.

    Attributes:
        sequence: it.
        busy: whether one of its requests waits for an instance or runs.
        behind: its requests after that one.
        idle: the timer that closes it.
    """

    sequence: Sequence
    busy: bool = False
    behind: deque[Pending] = field(default_factory=deque)
    idle: asyncio.TimerHandle | None = None


class Sequences:
    """The open sequences of one stateful model; used on the event loop only."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, *, most: int, idle_s: float, end: Callable[[Sequence], None]
    ) -> None:
        """No sequence is open.

        Args:
            loop: the event loop.
            most: sequences that may be open at once.
            idle_s: seconds after which a sequence that nothing was heard of is closed.
            end: frees a sequence's states.
        """
        self._loop = loop
        self._most = most
        self._idle_s = idle_s
        self._end = end
        self._open: dict[int | str, _Open] = {}

    def __len__(self) -> int:
        return len(self._open)

    def enter(self, pending: Pending) -> bool:
        """Take a request in; whether it may run now. Where it may not, `leave` gives it out in its turn.

        Raises:
            InvalidRequestError: it belongs to no sequence, or to one that was not begun.
            UnavailableError: too many sequences are open.
        """
        sequence = pending.request.sequence
        if sequence is None:
            raise InvalidRequestError("this model keeps state from request to request; give a sequence_id")
        known = self._open.get(sequence.id)
        if known is None:
            if not sequence.start:
                raise InvalidRequestError(
                    f"sequence {sequence.id!r:.80} is not open (it was never begun, or was idle for "
                    f"{self._idle_s:g} s); begin it with sequence_start"
                )
            if len(self._open) >= self._most:
                raise UnavailableError(
                    f"{self._most} sequences are open, which is the most this model takes; end one", retry_after_s=1
                )
            known = self._open[sequence.id] = _Open(sequence)
        if known.idle is not None:
            known.idle.cancel()
            known.idle = None
        if known.busy:
            known.behind.append(pending)
            return False
        known.busy = True
        return True

    def leave(self, pending: Pending) -> Pending | None:
        """A request is done or given up; the next of its sequence, which may run now."""
        assert pending.request.sequence is not None
        sequence = pending.request.sequence
        known = self._open[sequence.id]
        if pending in known.behind:
            known.behind.remove(pending)
            return None
        known.busy = False
        if known.behind:
            known.busy = True
            return known.behind.popleft()
        if sequence.end:
            self._close(sequence.id)
        else:
            known.idle = self._loop.call_later(self._idle_s, self._close, sequence.id)
        return None

    def close(self) -> None:
        """Forget all sequences."""
        for known in self._open.values():
            if known.idle is not None:
                known.idle.cancel()
        self._open.clear()

    def _close(self, identity: int | str) -> None:
        known = self._open.pop(identity)
        if known.idle is not None:
            known.idle.cancel()
        self._end(known.sequence)
