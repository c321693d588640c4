"""The caller's end of the compiling process: starts it, shows its progress, bounds its time, and tells how it died."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from edgeml.core.errors import CheckFailedError, EdgeMLError, MissingError, UntrustedFileError, UsageError

Progress = Callable[[str], None]

COMMAND = (sys.executable, "-m", "edgeml.compiler.process.worker")
_KINDS: dict[str, type[EdgeMLError]] = {
    kind.__name__: kind for kind in (EdgeMLError, UsageError, UntrustedFileError, MissingError, CheckFailedError)
}
_TAIL_BYTES = 4096
_LINE_LIMIT = 300
_FULL = "No space left on device"
# What compilers and libraries say when they get no memory.
_MEMORY_WORDS = (
    "bad_alloc",
    "out of memory",
    "Cannot allocate memory",
    "Memory allocation still failed",
    "MemoryError",
    "virtual memory exhausted",
)


class CompilerRefusedError(EdgeMLError):
    """The compiler cannot take the model, in its own words."""


class CompilerCrashedError(EdgeMLError):
    """The compiling process died.

    Attributes:
        trying: index of the node it was at, where it said so.
    """

    def __init__(self, message: str, trying: int | None) -> None:
        super().__init__(message)
        self.trying = trying


@dataclass(frozen=True, kw_only=True)
class ProcessLimits:
    """How much a compiling process may take.

    Attributes:
        timeout_s: wall-clock time.
        memory_bytes: data; None sets no limit.
        command: the program; tests give another.
        environment: variables that it gets beside this process's own.
    """

    timeout_s: float = 900.0
    memory_bytes: int | None = None
    command: tuple[str, ...] = COMMAND
    environment: Mapping[str, str] = field(default_factory=dict)


def run_job(
    job: Mapping[str, Any], *, directory: Path, limits: ProcessLimits, progress: Progress = lambda _step: None
) -> dict[str, Any]:
    """The answer of the compiling process to `job`; the process and all it started have ended when this returns.

    Args:
        job: see `edgeml.compiler.process.worker`.
        directory: where the process leaves its temporary files.
        limits: what it may take.
        progress: told each step.

    Raises:
        CompilerRefusedError: it cannot take the model.
        CompilerCrashedError: it died.
        EdgeMLError: it took too long or too much memory, or said what went wrong.
    """
    # A file, not a pipe: a library may print any amount to stderr while nobody reads.
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            limits.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            # No modules from the directory the user happens to be in.
            env=os.environ | {"PYTHONSAFEPATH": "1", "TMPDIR": str(directory)} | dict(limits.environment),
            start_new_session=True,  # so that it can be ended together with the linker it may have started
        )
        try:
            return _converse(process, dict(job) | {"memory_limit_bytes": limits.memory_bytes}, errors, limits, progress)
        finally:
            _end(process)


def _converse(
    process: subprocess.Popen[bytes], job: dict[str, Any], errors: IO[bytes], limits: ProcessLimits, progress: Progress
) -> dict[str, Any]:
    assert process.stdin is not None
    with suppress(BrokenPipeError):  # a process that is gone already is told of below
        process.stdin.write(json.dumps(job).encode() + b"\n")
        process.stdin.flush()
    answers: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(process, answers), daemon=True).start()
    deadline = time.monotonic() + limits.timeout_s
    step, trying = "starting", None
    while True:
        try:
            line = answers.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty as error:
            raise EdgeMLError(
                f"the compiler did not finish within {limits.timeout_s:g} s and was stopped while {step}; "
                "allow more with --timeout"
            ) from error
        if not line:
            raise _death(process, errors, step, trying, limits)
        answer = json.loads(line)
        if "step" in answer:
            step, trying = answer["step"], None
            progress(step)
        elif "trying" in answer:
            trying = answer["trying"]
        elif "out_of_memory" in answer:
            raise _too_much_memory(step, limits)
        elif "failed" in answer:
            raise CompilerRefusedError(f"TVM cannot compile the model: {answer['failed'][:_LINE_LIMIT]}")
        elif "error" in answer:
            raise _KINDS.get(answer["kind"], EdgeMLError)(_with_step(answer["error"], step))
        else:
            result: dict[str, Any] = answer["ok"]
            return result


def _with_step(message: str, step: str) -> str:
    return f"{message} (while {step})" if _FULL in message else message


def _death(
    process: subprocess.Popen[bytes], errors: IO[bytes], step: str, trying: int | None, limits: ProcessLimits
) -> EdgeMLError:
    code = process.wait()
    errors.seek(max(0, errors.seek(0, os.SEEK_END) - _TAIL_BYTES))
    tail = errors.read().decode("utf-8", errors="replace")
    if any(word in tail for word in _MEMORY_WORDS):
        return _too_much_memory(step, limits)
    if _FULL in tail:
        return EdgeMLError(f"the compiler cannot write its files: {_FULL} (while {step})")
    last = next((line.strip() for line in reversed(tail.splitlines()) if line.strip()), "it printed nothing")
    if code < 0:
        name = signal.Signals(-code).name if -code in signal.valid_signals() else f"signal {-code}"
        hint = " (the kernel may have ended it for want of memory)" if name == "SIGKILL" else ""
        how = f"crashed with {name}{hint}"
    else:
        how = f"ended with exit code {code}"
    return CompilerCrashedError(f"the compiler {how} while {step}; its last line: {last[:_LINE_LIMIT]}", trying)


def _too_much_memory(step: str, limits: ProcessLimits) -> EdgeMLError:
    bound = "" if limits.memory_bytes is None else f" than the {limits.memory_bytes / 1e9:.1f} GB it may take"
    return EdgeMLError(f"the compiler needs more memory{bound}, while {step}; allow more with --memory-limit")


def _read(process: subprocess.Popen[bytes], answers: queue.SimpleQueue[bytes]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        answers.put(line)
    answers.put(b"")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process and whatever it started."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        with suppress(BrokenPipeError, OSError):
            pipe.close()
