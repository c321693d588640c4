"""A device that is this machine under another name, whose link can be cut."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from edgeml.core.device import Device
from edgeml.edge_bench.devices.channel import Channel
from edgeml.edge_bench.devices.connection import Connection
from edgeml.edge_bench.devices.errors import DeviceLostError
from edgeml.edge_bench.devices.local import WORKER_COMMAND, LocalChannel, LocalConnection
from edgeml.edge_bench.link import Connect

BOARD = Device.parse("ssh://pi@board")

CLOCK_STEPS = (
    sys.executable,
    "-c",
    "import time, itertools\n"
    "hours = itertools.count()\n"
    "time.time = lambda: 1.7e9 - 3600.0 * next(hours)\n"
    "from edgeml.edge_bench import worker\n"
    "worker.main()\n",
)
"""The worker with a wall clock that is set back by an hour whenever it is read."""


class CutChannel:
    """A worker's channel whose link is cut after so many lines from it; a `Channel`."""

    def __init__(self, channel: LocalChannel, lines: int) -> None:
        self._channel = channel
        self._left = lines
        self.lost = False

    def send(self, line: str) -> None:
        """Hand on a line."""
        self._channel.send(line)

    def receive(self, timeout_s: float) -> str | None:
        """Hand on an answer until the link is cut."""
        line = self._channel.receive(timeout_s)
        self._left -= 1
        if self._left < 0:
            self.lost = True
            self._channel.close(force=True)
            return None
        return line

    def ended_because(self) -> str:
        """The link."""
        return f"the link to {BOARD} was cut" if self.lost else self._channel.ended_because()

    def close(self, *, force: bool = False) -> None:
        """End the worker."""
        self._channel.close(force=force)


class FakeDevice(LocalConnection):
    """A connection to this machine that calls it by another name and copies files as a link would."""

    def __init__(
        self,
        directory: Path,
        *,
        device: Device = BOARD,
        measures_latency: bool = True,
        cut_after: int | None = None,
        command: Sequence[str] = WORKER_COMMAND,
    ) -> None:
        super().__init__(command)
        self.device = device
        self.measures_latency = measures_latency
        self.worker_device = "local"
        self._there = directory / "there"
        self._there.mkdir(exist_ok=True)
        self._cut_after = cut_after
        self.channels: list[Channel] = []
        self.closed = False

    def start(self, label: str) -> Channel:
        """Start a worker; the last but one whose link is cut takes the others along."""
        channel = super().start(label)
        if self._cut_after is not None:
            assert isinstance(channel, LocalChannel)
            channel = CutChannel(channel, self._cut_after)
        self.channels.append(channel)
        return channel

    def put(self, path: Path) -> str:
        """A copy under another path."""
        copy = self._there / path.name
        copy.write_bytes(path.read_bytes())
        return str(copy)

    def close(self) -> None:
        """End it all."""
        super().close()
        self.closed = True


def connecting(*makers: Callable[[], FakeDevice]) -> tuple[Connect, list[FakeDevice]]:
    """Connections made one after the other, then none any more; and those that were made."""
    waiting, made = list(makers), []

    @contextmanager
    def connect() -> Iterator[Connection]:
        if not waiting:
            raise DeviceLostError(f"{BOARD} does not answer")
        made.append(waiting.pop(0)())
        try:
            yield made[-1]
        finally:
            made[-1].close()

    return connect, made
