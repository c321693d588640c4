"""A program on a device, at the far end of an SSH session."""

from __future__ import annotations

import signal
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from edgeml.edge_bench.devices.ending import TAIL_BYTES, ending, shell_ending
from edgeml.edge_bench.devices.lines import Lines

if TYPE_CHECKING:
    import asyncssh

    from edgeml.core.device import Device
    from edgeml.edge_bench.devices.loop_thread import LoopThread

_STOP_TIMEOUT_S = 5.0
_STDERR = 1  # SSH_EXTENDED_DATA_STDERR, RFC 4254, 5.2


class SshChannel:
    """Both the coordinator's end (a Channel) and what asyncssh calls, in the loop's thread, when something arrives."""

    def __init__(self, device: Device, loop: LoopThread) -> None:
        """Make the end; asyncssh then joins it to a session.

        Args:
            device: what messages call the far end.
            loop: the loop that the session lives in.
        """
        self._device = device
        self._loop = loop
        self._chan: asyncssh.SSHClientChannel[bytes] | None = None
        self._lines = Lines()
        self._part = b""
        self._tail = b""
        self._code: int | None = None
        self._signal: str | None = None
        self._reason: str | None = None
        self._ended = threading.Event()

    @property
    def lost(self) -> bool:
        """Whether the session ended without a word on how the program did."""
        return self._ended.is_set() and self._code is None and self._signal is None

    def send(self, line: str) -> None:
        """Hand the program a line."""
        data = line.encode("utf-8") + b"\n"
        self._loop.soon(lambda: self._write(data))

    def receive(self, timeout_s: float) -> str | None:
        """The program's next line, None where it ended or the link is cut."""
        return self._lines.take(timeout_s)

    def ended_because(self) -> str:
        """How the program ended and its last line, or that the link is cut."""
        if self._signal is not None:
            return ending(-getattr(signal, f"SIG{self._signal}", 0), self._tail)
        if self._code is not None:
            return shell_ending(self._code, self._tail)
        return f"the link to {self._device} was cut{f' ({self._reason})' if self._reason else ''}"

    def close(self, *, force: bool = False) -> None:
        """End the program and the session."""
        for ask in (self._write_end, self._kill, self._abort)[force:]:
            self._loop.soon(ask)
            if self._ended.wait(_STOP_TIMEOUT_S):
                return

    # What asyncssh calls.

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        """The session is opened."""
        self._chan = chan

    def session_started(self) -> None:
        """The program is started."""

    def data_received(self, data: bytes, datatype: int | None) -> None:
        """The program printed something."""
        if datatype == _STDERR:
            self._tail = (self._tail + data)[-TAIL_BYTES:]
            return
        *lines, self._part = (self._part + data).split(b"\n")
        for line in lines:
            self._lines.add(line.decode("utf-8", errors="replace"))

    def eof_received(self) -> bool:
        """The program closed its stdout; its stdin may stay open."""
        return True

    def exit_status_received(self, status: int) -> None:
        """The program ended with a code."""
        self._code = status

    def exit_signal_received(self, name: str, core_dumped: bool, message: str, language: str) -> None:  # noqa: ARG002
        """The program was ended by a signal, named without its SIG (RFC 4254, 6.10)."""
        self._signal = name

    def connection_lost(self, error: Exception | None) -> None:
        """The session is over."""
        self._reason = None if error is None else str(error)
        self._ended.set()
        self._lines.end()

    def pause_writing(self) -> None:
        """Commands are short: none is held back."""

    def resume_writing(self) -> None:
        """Commands are short: none is held back."""

    def xon_xoff_requested(self, client_can_do: bool) -> None:
        """There is no terminal."""

    def _write(self, data: bytes) -> None:
        with suppress(OSError):
            if self._chan is not None and not self._chan.is_closing():
                self._chan.write(data)

    def _write_end(self) -> None:
        with suppress(OSError):
            if self._chan is not None and not self._chan.is_closing():
                self._chan.write_eof()

    def _kill(self) -> None:
        with suppress(OSError):
            if self._chan is not None:
                self._chan.kill()  # servers older than OpenSSH 7.9 do nothing

    def _abort(self) -> None:
        if self._chan is not None:
            self._chan.abort()
