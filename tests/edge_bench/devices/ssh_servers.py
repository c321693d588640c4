"""Two SSH servers on loopback, each with keys of its own, and a link between that can be cut or go dead."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import asyncssh

from edgeml.core.device import Device
from edgeml.edge_bench.devices.loop_thread import LoopThread

SSHD = Path("/usr/sbin/sshd")


@dataclass(frozen=True)
class Keys:
    """Of one server and one user; files in a directory of their own."""

    directory: Path

    @property
    def identity(self) -> Path:
        return self.directory / "user"

    @property
    def host_key(self) -> Path:
        return self.directory / "host"

    @property
    def authorized(self) -> Path:
        return self.directory / "user.pub"

    def write_known_hosts(self, port: int, name: str = "known_hosts") -> Path:
        path = self.directory / name
        key = (self.directory / "host.pub").read_text()
        path.write_text(f"[127.0.0.1]:{port} {key}\n")
        return path


def make_keys(directory: Path) -> Keys:
    directory.mkdir()
    for name in ("user", "host"):
        key = asyncssh.generate_private_key("ssh-ed25519")
        key.write_private_key(directory / name)
        key.write_public_key(directory / f"{name}.pub")
        (directory / name).chmod(0o600)
    return Keys(directory)


class _Forwarding(asyncssh.SSHServer):
    """Lets the user reach other ports, as OpenSSH does."""

    def connection_requested(self, *_arguments: Any) -> bool:
        return True


@contextmanager
def in_process_server(keys: Keys, home: Path) -> Iterator[int]:
    """asyncssh's server, which runs each command by a real shell; its port."""
    children: list[subprocess.Popen[bytes]] = []
    threads = ThreadPoolExecutor(64)

    async def run(process: asyncssh.SSHServerProcess[bytes]) -> None:
        child = subprocess.Popen(
            ["/bin/sh", "-c", process.command or "exit 1"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            env=os.environ | {"HOME": str(home)},
        )
        children.append(child)
        loop = asyncio.get_running_loop()

        async def print_all(pipe: IO[bytes] | None, writer: asyncssh.SSHWriter[bytes]) -> None:
            assert pipe is not None
            with suppress(OSError, asyncssh.Error):
                while data := await loop.run_in_executor(threads, pipe.read, 1 << 16):
                    writer.write(data)
                    await writer.drain()

        async def feed() -> None:
            assert child.stdin is not None
            with suppress(OSError, asyncssh.Error):
                while data := await process.stdin.read(1 << 16):
                    await loop.run_in_executor(threads, _write_all, child.stdin, data)
            with suppress(OSError):
                child.stdin.close()

        feeding = loop.create_task(feed())
        await asyncio.gather(print_all(child.stdout, process.stdout), print_all(child.stderr, process.stderr))
        code = await loop.run_in_executor(threads, child.wait)
        feeding.cancel()
        if code < 0:
            process.exit_with_signal(signal.Signals(-code).name.removeprefix("SIG"))
        else:
            process.exit(code)

    async def listen() -> asyncssh.SSHAcceptor:
        return await asyncssh.listen(
            "127.0.0.1",
            0,
            server_host_keys=[str(keys.host_key)],
            authorized_client_keys=str(keys.authorized),
            server_factory=_Forwarding,
            process_factory=run,
            encoding=None,
        )

    async def stop(server: asyncssh.SSHAcceptor) -> None:
        server.close()
        await server.wait_closed()

    loop = LoopThread("ssh server")
    server = loop.call(listen(), 30)
    try:
        yield server.get_port()
    finally:
        loop.call(stop(server), 30)
        loop.close()
        for child in children:
            with child:  # closes its pipes, which ends it
                pass
        threads.shutdown()


@contextmanager
def openssh_server(keys: Keys, home: Path, options: Sequence[str] = ()) -> Iterator[int]:
    """OpenSSH's server, started for each connection as inetd does; its port."""
    configuration = keys.directory / "sshd_config"
    lines = [
        f"HostKey {keys.host_key}",
        f"AuthorizedKeysFile {keys.authorized}",
        "StrictModes no",
        "UsePAM no",
        "PasswordAuthentication no",
        "KbdInteractiveAuthentication no",
        "PermitRootLogin yes",
        f"SetEnv HOME={home}",
        *options,
    ]
    configuration.write_text("\n".join(lines) + "\n")
    with suppress(PermissionError):
        Path("/run/sshd").mkdir(exist_ok=True)  # where the server gives up its privileges
    servers: list[subprocess.Popen[bytes]] = []
    with socket.create_server(("127.0.0.1", 0)) as listener, (keys.directory / "sshd.log").open("wb") as log:

        def accept() -> None:
            while True:
                try:
                    link, _ = listener.accept()
                except OSError:
                    return
                with link:
                    end = link.fileno()
                    command = [str(SSHD), "-i", "-e", "-f", str(configuration)]
                    servers.append(subprocess.Popen(command, stdin=end, stdout=end, stderr=log))

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for server in servers:
                server.kill()
                server.wait()


def _write_all(pipe: IO[bytes], data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[pipe.write(view) :]


class Link:
    """A TCP proxy to a server: `cut` ends its connections, `go_dead` lets nothing through any more."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._dead = False
        self._writers: list[asyncio.StreamWriter] = []
        self._loop = LoopThread("link")
        self._server = self._loop.call(asyncio.start_server(self._join, "127.0.0.1", 0), 30)
        self.port = int(self._server.sockets[0].getsockname()[1])

    def cut(self) -> None:
        for writer in self._writers:
            self._loop.soon(writer.transport.abort)

    def go_dead(self) -> None:
        self._dead = True

    def close(self) -> None:
        self.cut()
        self._server.close()
        self._loop.close()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection("127.0.0.1", self._to)
        self._writers += [writer, there[1]]
        await asyncio.gather(self._carry(reader, there[1]), self._carry(there[0], writer))

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(1 << 16):
                if not self._dead:
                    writer.write(data)
                    await writer.drain()
        if not self._dead:
            writer.close()


def device_at(port: int) -> Device:
    import getpass

    return Device("ssh", "127.0.0.1", port, getpass.getuser())


def processes_in(directory: Path) -> list[int]:
    """Processes whose working directory lies in this one."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if str((entry / "cwd").readlink()).startswith(str(directory)):
                found.append(int(entry.name))
    return found


def litter(directory: Path) -> dict[str, Any]:
    """What a run left on the device: processes and run directories."""
    return {"processes": processes_in(directory), "runs": [path.name for path in directory.glob("run-*")]}
