"""Servers as child processes: started, stopped while it is another's turn, and ended with all they started."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from serving_client import Connection

_START_S = 120.0
_POLL_S = 0.05


def free_port() -> int:
    """A TCP port that nothing listens at now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def edgeml_command(model: Path, port: int, grpc_port: int, options: Sequence[str]) -> list[str]:
    """`edgeml serve` for one model."""
    ports = ["--port", str(port), "--grpc-port", str(grpc_port)]
    return [sys.executable, "-m", "edgeml.cli.main", "serve", str(model), *ports, *options]


def script_command(script: str, model: Path, port: int, batch: int) -> list[str]:
    """A server that is a script beside this file, with its arguments."""
    name, *arguments = script.split()
    path = str(Path(__file__).with_name(name))
    return [sys.executable, path, *arguments, "--model", str(model), "--port", str(port), "--batch", str(batch)]


@dataclass(frozen=True)
class Served:
    """A server that is to be measured.

    Attributes:
        name: in the figures.
        command: starts it.
        port: of its HTTP.
        request: the bytes of a request.
        grpc_port: of its gRPC; 0 without.
    """

    name: str
    command: Sequence[str]
    port: int
    request: bytes
    grpc_port: int = 0


class Server:
    """A server that runs, but only in its turns: between them it is stopped, so that none can disturb another."""

    def __init__(self, served: Served, cores: Sequence[int] = ()) -> None:
        self.served = served
        self._process = subprocess.Popen(
            served.command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # a process group, which its workers belong to
            preexec_fn=(lambda: os.sched_setaffinity(0, cores)) if cores else None,
        )

    def __enter__(self) -> "Server":
        """Wait until it answers; then it is stopped.

        Raises:
            RuntimeError: it ended, or does not answer.
        """
        until = time.monotonic() + _START_S
        last = "nothing"
        while time.monotonic() < until:
            if self._process.poll() is not None:
                raise RuntimeError(f"{self.served.name} ended with {self._process.returncode}: {self.served.command}")
            try:
                connection = Connection(self.served.port)
                connection.call(self.served.request)
                connection.close()
            except (OSError, RuntimeError) as error:
                last = str(error)
                time.sleep(_POLL_S)
            else:
                self._signal(signal.SIGSTOP)
                return self
        self.__exit__(None, None, None)
        raise RuntimeError(f"{self.served.name} does not answer after {_START_S:g} s; the last try brought: {last}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._signal(signal.SIGKILL)
        self._process.wait()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Let it run while the block does."""
        self._signal(signal.SIGCONT)
        try:
            yield
        finally:
            self._signal(signal.SIGSTOP)

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)
