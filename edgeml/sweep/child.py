"""Runs one command line of edgeml as a child process, which never outlives this one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from edgeml.sweep.job_process import GRACE_S

EDGEML = "edgeml.cli.main"
_POLL_S = 0.1
_TAIL_BYTES = 16 << 10


@dataclass(frozen=True, kw_only=True)
class Finished:
    """How a task ended.

    Attributes:
        seconds: how long it ran; 0 where the cache had it.
        reason: why it failed, in one line; None where it did not.
        cached: whether it was finished before.
    """

    seconds: float
    reason: str | None = None
    cached: bool = False


def run_child(
    words: Sequence[str],
    *,
    module: str,
    directory: Path,
    log: Path,
    environment: Mapping[str, str],
    stop: threading.Event,
) -> Finished:
    """Run `python -m module words...` and wait for it.

    Args:
        words: its arguments.
        module: the program.
        directory: its working directory.
        log: the file that gets all it prints.
        environment: variables beside this process's own.
        stop: once set, the child is asked to end and then killed with all it started.

    Raises:
        OSError: it could not be started.
    """
    began = time.monotonic()
    command = [sys.executable, "-m", "edgeml.sweep.job_process", module, *words]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=directory,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            start_new_session=True,  # Ctrl-C at the terminal is this process's alone
        )
    assert process.stdin is not None
    try:
        while process.poll() is None and not stop.wait(_POLL_S):
            pass
    finally:
        process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            process.wait(None if process.poll() is not None else GRACE_S)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)  # what it left behind, and itself where it did not end
        process.wait()
    seconds = time.monotonic() - began
    if stop.is_set():
        return Finished(seconds=seconds, reason="interrupted")
    return Finished(seconds=seconds, reason=None if process.returncode == 0 else _reason(process.returncode, log))


def _reason(code: int, log: Path) -> str:
    """The line in which the command said what is wrong, else its last one."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
        text = file.read().decode("utf-8", "replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    told = [line for line in lines if line.startswith("edgeml: ") and not line.startswith("edgeml: warning: ")]
    line = told[-1].removeprefix("edgeml: ") if told else lines[-1] if lines else "it said nothing"
    if code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        return f"ended by {name}; its last line: {line}"
    return line
