"""What finished tasks left behind, by key: a task that was finished once is not run again."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edgeml.core.errors import EdgeMLError
from edgeml.core.user_directories import cache_directory
from edgeml.sweep.task import Task

LOG_FILE = "log.txt"
_RECORD_FILE = "task.json"
_POLL_S = 0.2


@dataclass(frozen=True)
class TaskCache:
    """A directory with one directory for each finished task, named by its key.

    Attributes:
        root: the directory.
    """

    root: Path

    @classmethod
    def open(cls, root: Path | None = None) -> TaskCache:
        """The cache in `root`, made where it does not exist; None for the one in the user's cache directory.

        Raises:
            EdgeMLError: it cannot be made.
        """
        directory = cache_directory() / "sweep" if root is None else root
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EdgeMLError(f"cannot make the directory {directory}: {error.strerror or error}") from error
        return cls(directory.resolve())

    def entry(self, key: str) -> Path:
        """Where the files of the finished task lie; whether it is finished is told by `has`."""
        return self.root / key

    def part(self, key: str) -> Path:
        """Where the files of the unfinished task lie."""
        return self.root / f"{key}.part"

    def has(self, key: str) -> bool:
        """Whether the task is finished."""
        return (self.entry(key) / _RECORD_FILE).is_file()

    def forget(self, key: str) -> None:
        """Have the task done again."""
        shutil.rmtree(self.entry(key), ignore_errors=True)

    @contextmanager
    def making(self, key: str, stop: threading.Event) -> Iterator[Path]:
        """Hold the task for oneself: another sweep that needs the same one waits here and then finds it finished.

        Yields:
            The directory for its files, with what an interrupted run left there.

        Raises:
            InterruptedError: `stop` was set while waiting.
        """
        with (self.root / f"{key}.lock").open("w") as lock:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if stop.is_set():
                        raise InterruptedError from None
                    time.sleep(_POLL_S)
            self.part(key).mkdir(exist_ok=True)
            yield self.part(key)

    def finish(self, key: str, task: Task, seconds: float) -> None:
        """Make the task's directory its finished one; it appears there whole."""
        record = {"label": task.label, "seconds": seconds}
        part = self.part(key)
        (part / _RECORD_FILE).write_text(json.dumps(record) + "\n", encoding="utf-8")
        for path in part.rglob("*"):
            if path.is_file() and not path.is_symlink():
                # Renamed before its content is on the disk, an empty file could be all that is left after a power cut.
                with path.open("rb") as file:
                    os.fsync(file.fileno())
        shutil.rmtree(self.entry(key), ignore_errors=True)
        part.rename(self.entry(key))
