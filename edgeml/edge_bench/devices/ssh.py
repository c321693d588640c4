"""A device reached by SSH. Files go through its shell, so that a server without SFTP (Dropbear) is well too."""

from __future__ import annotations

import asyncio
import io
import shlex
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeVar, cast

from edgeml.core.errors import EdgeMLError
from edgeml.edge_bench.devices.channel import Channel
from edgeml.edge_bench.devices.errors import DeviceLostError
from edgeml.edge_bench.devices.loop_thread import LoopThread
from edgeml.edge_bench.devices.shell import Completed, complaint
from edgeml.edge_bench.devices.ssh_channel import SshChannel
from edgeml.edge_bench.devices.ssh_login import open_connection

if TYPE_CHECKING:
    import asyncssh

    from edgeml.edge_bench.devices.profiles import DeviceProfile

T = TypeVar("T")
_START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 5.0
_BLOCK_BYTES = 1 << 18


class SshShell:
    """A device's shell over SSH; a Shell."""

    def __init__(self, profile: DeviceProfile) -> None:
        """Log in.

        Raises:
            MissingError: asyncssh is not installed, the device is not reached, its host key is not the known one, or
                none of the user's keys is accepted.
            UsageError: a file of keys or configuration cannot be read.
        """
        self._profile = profile
        self._device = profile.device
        self._loop = LoopThread(f"edgeml {profile.device}")
        self._connections: list[asyncssh.SSHClientConnection] = []
        try:
            self._connections.append(self._loop.call(open_connection(profile)))
        except BaseException:
            self._loop.close()
            raise

    def run(self, script: str, *, stdin: bytes = b"", timeout_s: float) -> Completed:
        """Run a script to its end."""
        return self._run(script, io.BytesIO(stdin), None, timeout_s)

    def start(self, script: str) -> Channel:
        """Start a script whose stdin and stdout are lines."""

        def factory() -> asyncssh.SSHClientSession[bytes]:
            # asyncssh asks for the methods, not for the class, which a class here could only have by importing it.
            return cast("asyncssh.SSHClientSession[bytes]", SshChannel(self._device, self._loop))

        async def begin(connection: asyncssh.SSHClientConnection) -> SshChannel:
            _, session = await connection.create_session(factory, _command(script), encoding=None)
            return cast("SshChannel", session)

        return self._call(self._over_a_connection(begin), _START_TIMEOUT_S)

    def push(self, local: Path, remote: str) -> None:
        """Copy a file to the device."""
        try:
            with local.open("rb") as file:
                done = self._run(f"cat > {shlex.quote(remote)}", file, None, None)
        except OSError as error:
            raise EdgeMLError(f"cannot read {local}: {error.strerror or error}") from error
        if done.code != 0:
            raise EdgeMLError(f"{self._device} did not take {local.name}: {complaint(done)}")

    def pull(self, remote: str, local: Path) -> None:
        """Copy a file of the device here."""
        try:
            with local.open("wb") as file:
                done = self._run(f"cat < {shlex.quote(remote)}", io.BytesIO(), file, None)
        except OSError as error:
            raise EdgeMLError(f"cannot write {local}: {error.strerror or error}") from error
        if done.code != 0:
            raise EdgeMLError(f"{self._device} did not give {remote}: {complaint(done)}")

    def forward(self, host: str, port: int) -> int:
        """Lead a port of this machine to one that the device reaches, until the shell is closed.

        Args:
            host: as the device calls it; "localhost" is the device itself.
            port: there.

        Returns:
            The port on 127.0.0.1 here.

        Raises:
            DeviceLostError: the link is cut.
            EdgeMLError: no port could be opened here.
        """
        try:
            listener = self._call(self._connections[0].forward_local_port("127.0.0.1", 0, host, port), _START_TIMEOUT_S)
        except OSError as error:
            raise EdgeMLError(f"cannot open a port for the tunnel to {self._device}: {error}") from error
        return listener.get_port()

    def close(self) -> None:
        """Let go of the link."""
        with suppress(RuntimeError, TimeoutError):
            self._loop.call(self._disconnect(), _STOP_TIMEOUT_S)
        self._loop.close()

    def _run(self, script: str, stdin: IO[bytes], stdout: IO[bytes] | None, timeout_s: float | None) -> Completed:
        import asyncssh

        async def work(connection: asyncssh.SSHClientConnection) -> Completed:
            # asyncssh can read and write files itself, but then waits for no one when a link is cut.
            async with connection.create_process(_command(script), encoding=None) as process:
                feeding = asyncio.ensure_future(_feed(process.stdin, stdin))
                complaining = asyncio.ensure_future(process.stderr.read())
                printed = await _drain(process.stdout, stdout)
                complained = await complaining
                await process.wait()
                feeding.cancel()
            if process.returncode is None:
                raise asyncssh.ConnectionLost("the session ended without a word")
            # A shell tells of a signal as 128 + n; where a signal ended the shell itself, so do we.
            code = process.returncode if process.returncode >= 0 else 128 - process.returncode
            return Completed(code=code, stdout=printed, stderr=complained)

        return self._call(self._over_a_connection(work), timeout_s)

    def _call(self, work: Awaitable[T], timeout_s: float | None) -> T:
        import asyncssh

        async def awaited() -> T:
            return await work

        try:
            return self._loop.call(awaited(), timeout_s)
        except TimeoutError as error:
            raise DeviceLostError(f"{self._device} did not answer within {timeout_s:.0f} s") from error
        except (asyncssh.Error, ConnectionError, asyncio.CancelledError, RuntimeError) as error:
            raise DeviceLostError(f"the link to {self._device} was cut ({error})") from error

    async def _over_a_connection(self, work: Callable[[asyncssh.SSHClientConnection], Awaitable[T]]) -> T:
        """Work over the last connection, or over one more where the server allows that no more sessions.

        OpenSSH allows 10 (MaxSessions), and every worker is one.
        """
        import asyncssh

        try:
            return await work(self._connections[-1])
        except asyncssh.ChannelOpenError as error:
            # A link that was cut tells so in these words before it counts as closed.
            if self._connections[-1].is_closed() or error.reason == "SSH connection closed":
                raise
        self._connections.append(await open_connection(self._profile))
        return await work(self._connections[-1])

    async def _disconnect(self) -> None:
        for connection in self._connections:
            connection.close()
        for connection in self._connections:
            await connection.wait_closed()


def _command(script: str) -> str:
    # The user's login shell there may be none of POSIX.
    return f"exec /bin/sh -c {shlex.quote(script)}"


async def _feed(stdin: asyncssh.SSHWriter[bytes], source: IO[bytes]) -> None:
    import asyncssh

    with suppress(OSError, asyncssh.Error):  # what the script said tells more
        while block := source.read(_BLOCK_BYTES):
            stdin.write(block)
            await stdin.drain()
        stdin.write_eof()


async def _drain(stdout: asyncssh.SSHReader[bytes], sink: IO[bytes] | None) -> bytes:
    """All that a script prints; empty where it goes to the sink."""
    if sink is None:
        return await stdout.read()
    while block := await stdout.read(_BLOCK_BYTES):
        sink.write(block)
    return b""
