"""A program on a POSIX device, apart from what the shell prints around it and what the link leaves running."""

from __future__ import annotations

from collections.abc import Callable

from edgeml.edge_bench.devices.channel import Channel


class MarkedChannel:
    """A channel whose lines count from a mark on: before, a shell's start file may have printed."""

    def __init__(self, channel: Channel, mark: str, kill: Callable[[], object] = lambda: None) -> None:
        """Wrap a channel.

        Args:
            channel: the program, started.
            mark: the line that it prints first.
            kill: ends the program where closing its stdin or the link does not; raises nothing.
        """
        self._channel = channel
        self._mark = mark
        self._kill = kill
        self._seen = False
        self._closed = False

    @property
    def lost(self) -> bool:
        """Whether the link was cut."""
        return self._channel.lost

    def send(self, line: str) -> None:
        """Hand the program a line."""
        self._channel.send(line)

    def receive(self, timeout_s: float) -> str | None:
        """The program's next line after the mark, None where it ended or the link is cut."""
        line = self._channel.receive(timeout_s)
        while line is not None and not self._seen:
            self._seen = line.strip() == self._mark
            line = self._channel.receive(timeout_s)
        return line

    def ended_because(self) -> str:
        """What ended it."""
        return self._channel.ended_because()

    def close(self, *, force: bool = False) -> None:
        """End the program there and free everything."""
        if self._closed:
            return
        self._closed = True
        if force:
            self._kill()
        self._channel.close(force=force)
        if not force:
            self._kill()
