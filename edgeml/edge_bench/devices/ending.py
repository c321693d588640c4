"""Puts into words what ended a program: its exit code and the last line it complained."""

import signal

TAIL_BYTES = 4096
"""How much of a program's stderr is enough to hold its last line."""

_LINE_LIMIT = 300
_HINTS = {
    "SIGKILL": " (the kernel may have ended it for want of memory)",
    "SIGILL": " (the model is compiled for a processor with instructions that this one lacks)",
}


def ending(code: int, stderr: bytes) -> str:
    """One clause on how the worker ended.

    Args:
        code: exit code; negative: the signal of that number.
        stderr: the end of what it complained.
    """
    lines = stderr[-TAIL_BYTES:].decode("utf-8", errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "it printed nothing")
    how = f"ended with code {code}"
    if code < 0:
        name = signal.Signals(-code).name if -code in signal.valid_signals() else f"signal {-code}"
        how = f"was ended by {name}{_HINTS.get(name, '')}"
    return f"the worker {how}; its last line: {last[:_LINE_LIMIT]}"


def shell_ending(code: int, stderr: bytes) -> str:
    """The same for the exit code of a shell, which tells of a signal n as 128 + n (POSIX.1-2017, 2.8.2)."""
    return ending(128 - code if 128 < code < 256 else code, stderr)
