"""The coordinator's end of a worker: starts the program, sends commands, and tells in one line when it dies."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from types import TracebackType
from typing import Any

from edgeml.core.errors import CheckFailedError, EdgeMLError, MissingError, UntrustedFileError, UsageError

_KINDS: dict[str, type[EdgeMLError]] = {
    kind.__name__: kind for kind in (EdgeMLError, UsageError, UntrustedFileError, MissingError, CheckFailedError)
}
_COMMAND = (sys.executable, "-m", "edgeml.edge_bench.worker")
_TAIL_BYTES = 4096
_LINE_LIMIT = 300
_HINTS = {
    "SIGKILL": " (the kernel may have ended it for want of memory)",
    "SIGILL": " (the model is compiled for a processor with instructions that this one lacks)",
}
_STOP_TIMEOUT_S = 5.0


class WorkerProcess:
    """A worker on this machine; use it as a context manager, which ends the process."""

    def __init__(self, label: str, command: tuple[str, ...] = _COMMAND) -> None:
        """Start the program.

        Args:
            label: what messages call it: the model file.
            command: the program; tests give another.
        """
        self._label = label
        # A file, not a pipe: a library may print any amount to stderr while nobody reads.
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed by close)
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            encoding="utf-8",
            # No modules from the directory the user happens to be in, and no numpy thread pool beside the model's.
            env=os.environ | {"PYTHONSAFEPATH": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
        self._replies: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def ask(self, command: str, *, timeout_s: float, **arguments: Any) -> dict[str, Any]:
        """Send a command and return its answer.

        Raises:
            EdgeMLError: the worker refused (with its own kind of error), died, or took longer than `timeout_s`.
        """
        assert self._process.stdin is not None
        with suppress(BrokenPipeError, OSError):  # a dead worker is told of below
            self._process.stdin.write(json.dumps({"command": command, **arguments}) + "\n")
            self._process.stdin.flush()
        try:
            line = self._replies.get(timeout=timeout_s)
        except queue.Empty as error:
            raise EdgeMLError(
                f"{self._label}: the worker did not finish {command!r} within {timeout_s:.0f} s; it was stopped"
            ) from error
        if not line:
            raise EdgeMLError(f"{self._label}: {self._cause_of_death()}")
        reply = json.loads(line)
        if "error" in reply:
            message = str(reply["error"])
            prefix = "" if self._label in message else f"{self._label}: "
            raise _KINDS.get(reply["kind"], EdgeMLError)(prefix + message)
        answer: dict[str, Any] = reply["ok"]
        return answer

    def close(self) -> None:
        """End the process: by asking, then by force."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError, OSError):
            self._process.stdin.close()
        try:
            self._process.wait(timeout=_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._errors.close()

    def __enter__(self) -> WorkerProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None:  # it may be in the middle of a long run, and nobody waits for that any more
            self._process.kill()
        self.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._replies.put(line)
        self._replies.put("")

    def _cause_of_death(self) -> str:
        code = self._process.wait()
        self._errors.seek(max(0, self._errors.seek(0, os.SEEK_END) - _TAIL_BYTES))
        lines = self._errors.read().decode("utf-8", errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "it printed nothing")
        if code < 0:
            name = signal.Signals(-code).name if -code in signal.valid_signals() else f"signal {-code}"
            return f"the worker was ended by {name}{_HINTS.get(name, '')}; its last line: {last[:_LINE_LIMIT]}"
        return f"the worker ended with code {code}; its last line: {last[:_LINE_LIMIT]}"
