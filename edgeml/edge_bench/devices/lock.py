"""One measurement at a time on a device: two would slow each other down, and neither would say so.

A lock is a file in the cache directory that is held by flock(2), so it ends with the process that holds it, however
that ends, and a file that lies about means nothing. It holds over the processes and threads of one user on this
machine; what others do on a board is not known here. On this machine it is one lock a core that the process may use:
runs that are pinned to different cores do not wait for each other. Where the system has no flock (Windows) or the file
cannot be made, nothing is locked.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import IO

from edgeml.core.device import Device
from edgeml.core.errors import EdgeMLError
from edgeml.core.user_directories import cache_directory
from edgeml.runtime.loopback import is_loopback

Note = Callable[[str], None]
"""Told in one line what is waited for."""

WAIT_S = 3600.0
"""How long a measurement waits for another one's end, by default."""

_POLL_S = 0.2
_COMMAND_LIMIT = 80


def note_on_stderr(message: str) -> None:
    """Tell the user on stderr, in the command line's form."""
    sys.stderr.write(f"edgeml: {message}\n")
    sys.stderr.flush()


@contextmanager
def measuring(device: Device, *, wait_s: float = WAIT_S, note: Note = note_on_stderr) -> Iterator[None]:
    """Hold the device while the block measures on it.

    Args:
        device: what is measured on; behind a tunnel, the board where that ends.
        wait_s: how long to wait for whoever holds it; 0 refuses at once.
        note: told once where there is something to wait for.

    Raises:
        EdgeMLError: the device is still held after `wait_s` seconds; the message tells by whom.
    """
    with ExitStack() as stack:
        deadline = time.monotonic() + wait_s
        for name in _names(device):
            with suppress(OSError):  # figures without a lock are better than none: a home may be read-only
                stack.enter_context(_open_lock(cache_directory() / "locks" / f"{name}.lock", device, deadline, note))
        yield


def _names(device: Device) -> tuple[str, ...]:
    """What is locked, in an order that all processes share, so that none waits for one that waits for it."""
    if device.scheme == "qemu":  # no time is taken on it
        return ()
    if device.scheme == "local":
        cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        return tuple(f"local-core-{core}" for core in cores) or ("local",)
    # Neither who logs in nor the name of this machine's own address makes a difference to the board.
    user = None if device.user is None else "any"
    port = 22 if device.scheme == "ssh" and device.port is None else device.port
    host = "127.0.0.1" if is_loopback(device.host) else device.host
    board = Device(device.scheme, host, port, user, device.key)
    return (re.sub(r"[^A-Za-z0-9.-]+", "-", str(board)),)


@contextmanager
def _open_lock(path: Path, device: Device, deadline: float, note: Note) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        told = False
        while not _try_lock(file):
            holder = _holder(path)
            if time.monotonic() >= deadline:
                raise EdgeMLError(
                    f"device {device} is in use: {holder} measures on it, and two measurements at a time would disturb "
                    "each other; run again when it has ended"
                )
            if not told:
                note(f"waiting for device {device}, on which {holder} measures")
                told = True
            time.sleep(_POLL_S)
        file.truncate(0)
        command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])[:_COMMAND_LIMIT]
        since = datetime.now(timezone.utc).isoformat(timespec="seconds")
        file.write(json.dumps({"process": os.getpid(), "command": command, "since": since}) + "\n")
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def _try_lock(file: IO[str]) -> bool:
    if sys.platform == "win32":
        return True
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(path: Path) -> str:
    """Who holds the lock, as far as the file tells."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return f"process {int(values['process'])} ({values['command']}, since {values['since']})"
    except (OSError, ValueError, KeyError, TypeError):  # it has just got or let go of the lock
        return "another process"
