"""The link to a device over a whole run: what a cut link took is done once more over a new one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from edgeml.core.errors import EdgeMLError
from edgeml.edge_bench.devices.connection import Connection
from edgeml.edge_bench.devices.errors import DeviceLostError
from edgeml.edge_bench.devices.local import WORKER_COMMAND, LocalConnection

T = TypeVar("T")
Connect = Callable[[], AbstractContextManager[Connection]]
"""Opens a connection that ends with its block."""


class Link:
    """A connection that is opened anew when it is lost; use it as a context manager."""

    def __init__(self, connect: Connect) -> None:
        """Remember how to connect; entering does it.

        Args:
            connect: opens a connection.
        """
        self._connect = connect
        self._open: AbstractContextManager[Connection] | None = None
        self._connection: Connection | None = None
        self._places: dict[Path, str] = {}
        self.remarks: list[str] = []
        """What was done once more, a sentence each."""

    @property
    def connection(self) -> Connection:
        """The connection that is open."""
        assert self._connection is not None
        return self._connection

    @property
    def workers_on_device(self) -> bool:
        """Whether workers run on the device itself and that is another machine than this one."""
        return self.connection.worker_device == "local" and self.connection.device.scheme != "local"

    def put(self, path: Path) -> str:
        """Bring a file to the device; its path there."""
        if path not in self._places:
            self._places[path] = self.connection.put(path)
        return self._places[path]

    def resumed(self, work: Callable[[], T], what: str, *, again: Callable[[], None] = lambda: None) -> T:
        """What `work` gives; where the link is cut while it is done, it is done once more over a new link.

        Args:
            work: begins anew each time it is called.
            what: what messages call it: "launch 2 of 5".
            again: called before it is done once more.

        Raises:
            DeviceLostError: the link was cut twice, or there is none any more.
        """
        try:
            return work()
        except DeviceLostError as error:
            lost = error
        self._end()
        try:
            self._begin()
        except EdgeMLError as error:
            raise DeviceLostError(f"{lost}; it could not be reached again: {error}") from error
        again()
        found = work()
        self.remarks.append(f"resumed: the link to {self.connection.device} was cut in {what}, which was done again")
        return found

    def __enter__(self) -> Link:
        self._begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        opened, self._open, self._connection = self._open, None, None
        if opened is not None:
            opened.__exit__(kind, error, traceback)

    def _begin(self) -> None:
        opened = self._connect()
        self._connection = opened.__enter__()
        self._open = opened
        self._places.clear()

    def _end(self) -> None:
        opened, self._open, self._connection = self._open, None, None
        if opened is not None:
            with suppress(EdgeMLError):  # what can be freed on a lost device frees itself
                opened.__exit__(None, None, None)


class _Local:
    """A connection to this machine, whose lock somebody else holds or nobody needs."""

    def __init__(self, command: Sequence[str]) -> None:
        self._connection = LocalConnection(command)

    def __enter__(self) -> Connection:
        return self._connection

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._connection.close()


def local_link(command: Sequence[str] = WORKER_COMMAND) -> Link:
    """A link to this machine that takes no lock.

    Args:
        command: the worker's program; benchmarks give another.
    """
    return Link(lambda: _Local(command))
