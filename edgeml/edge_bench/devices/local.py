"""This machine as a device: workers are child processes, files stay where they are."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from edgeml.core.atomic import atomic_write
from edgeml.core.device import LOCAL, Device
from edgeml.core.errors import EdgeMLError, UsageError
from edgeml.edge_bench.devices.channel import Channel
from edgeml.edge_bench.devices.ending import TAIL_BYTES, ending
from edgeml.edge_bench.devices.lines import Lines

WORKER_COMMAND = (sys.executable, "-m", "edgeml.edge_bench.worker")
WORKER_ENVIRONMENT = {
    # No modules from the directory the user happens to be in, and no numpy thread pool beside the model's.
    "PYTHONSAFEPATH": "1",
    "OPENBLAS_NUM_THREADS": "1",
}
_STOP_TIMEOUT_S = 5.0


class LocalChannel:
    """A child process of this one."""

    def __init__(
        self, command: Sequence[str] = WORKER_COMMAND, environment: Mapping[str, str] = WORKER_ENVIRONMENT
    ) -> None:
        """Start the program.

        Args:
            command: the program and its arguments.
            environment: variables beside those of this process.
        """
        # A file, not a pipe: a library may print any amount to stderr while nobody reads.
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed by close)
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            encoding="utf-8",
            errors="replace",
            env=os.environ | environment,
        )
        self._lines = Lines()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._closed = False

    @property
    def lost(self) -> bool:
        """A pipe is never cut."""
        return False

    @property
    def process_id(self) -> int:
        """The child's number."""
        return self._process.pid

    def send(self, line: str) -> None:
        """Hand the program a line."""
        assert self._process.stdin is not None
        with suppress(OSError, ValueError):  # a dead program is told of by `receive`
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()

    def receive(self, timeout_s: float) -> str | None:
        """The program's next line, None where it ended."""
        return self._lines.take(timeout_s)

    def exit_code(self) -> int:
        """After `receive` gave None: the exit code, negative for a signal."""
        return self._process.wait()

    def last_words(self) -> bytes:
        """After `receive` gave None: the end of what the program complained."""
        self._errors.seek(max(0, self._errors.seek(0, os.SEEK_END) - TAIL_BYTES))
        return self._errors.read()

    def ended_because(self) -> str:
        """How it ended and its last line."""
        return ending(self.exit_code(), self.last_words())

    def close(self, *, force: bool = False) -> None:
        """End the process: by asking, then by force."""
        if self._closed:
            return
        self._closed = True
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if force:
            self._process.kill()
        with suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(timeout=_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        self._process.stdout.close()
        self._errors.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.add(line.removesuffix("\n"))
        self._lines.end()


class LocalConnection:
    """Workers on this machine.

    Attributes:
        device: "local".
        measures_latency: True.
        worker_device: "local".
    """

    device: Device = LOCAL
    measures_latency: bool = True
    worker_device: str = "local"

    def __init__(self, command: Sequence[str] = WORKER_COMMAND) -> None:
        """Make a directory for this run's files.

        Args:
            command: the worker's program; benchmarks give another.
        """
        self._command = tuple(command)
        self._channels: list[LocalChannel] = []
        self._directory = Path(tempfile.mkdtemp(prefix="edgeml-run-"))

    def start(self, label: str) -> Channel:  # noqa: ARG002 (a child process needs no name)
        """Start a worker as a child process."""
        # What a library leaves in a temporary directory goes with the run, even where its worker is killed.
        channel = LocalChannel(self._command, {"TMPDIR": str(self._directory), **WORKER_ENVIRONMENT})
        self._channels.append(channel)
        return channel

    def put(self, path: Path) -> str:
        """The file's own absolute path: nothing is copied."""
        return str(path.absolute())

    def scratch(self, name: str) -> str:
        """A path in this run's directory."""
        return str(self._directory / plain_name(name))

    def fetch(self, remote: str, local: Path) -> None:
        """Copy a scratch file to its place."""
        with atomic_write(local) as temporary:
            try:
                shutil.copyfile(remote, temporary)
            except FileNotFoundError as error:
                raise EdgeMLError(f"the worker left no file {remote}") from error

    def close(self) -> None:
        """End the workers that still run and remove this run's directory."""
        for channel in self._channels:
            channel.close(force=True)
        self._channels.clear()
        shutil.rmtree(self._directory, ignore_errors=True)


def plain_name(name: str) -> str:
    """The name itself, where it is one of a file and leads nowhere else.

    Raises:
        UsageError: it has a directory in it.
    """
    if name in {"", ".", ".."} or "/" in name or "\0" in name:
        raise UsageError(f"{name!r} is not a plain file name")
    return name
