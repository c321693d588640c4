"""The server's log: one line an event, for people or as JSON, written by a thread that nothing waits for."""

from __future__ import annotations

import json
import logging
import os
import queue
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from logging.handlers import QueueHandler
from pathlib import Path
from typing import Literal

from edgeml.core.errors import UsageError

Format = Literal["text", "json"]

LOGGER = "edgeml.serving"
# Lines that wait for a slow disk; more are dropped, since requests go on.
_WAITING_LINES = 10_000
_LAST_LINES_S = 1.0


@contextmanager
def logging_to(path: Path | None, line_format: Format) -> Iterator[logging.Logger]:
    """The server's logger while the block runs.

    A disk that is full or slow costs lines, never requests: a line that cannot be written is dropped, and the next one
    that can be says how many were. At the end, lines that still wait get `_LAST_LINES_S` seconds.

    Args:
        path: a file to append to, which may be moved away by log rotation; None for stderr.
        line_format: "text", or "json" for one object a line.

    Raises:
        UsageError: the file cannot be written.
    """
    lost = _Lost()
    handler = _open(path, lost)
    handler.setFormatter(_JsonLines() if line_format == "json" else _TextLines())
    lines: queue.Queue[logging.LogRecord | None] = queue.Queue(_WAITING_LINES)
    # A daemon: a pipe that nobody reads must not keep the server from ending.
    writer = threading.Thread(target=_write_all, args=(lines, handler), name="log", daemon=True)
    logger = logging.getLogger(LOGGER)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    entrance = _Entrance(lines, lost)
    logger.addHandler(entrance)
    writer.start()
    try:
        yield logger
    finally:
        logger.removeHandler(entrance)
        with suppress(queue.Full):
            lines.put(None, timeout=_LAST_LINES_S)
        writer.join(_LAST_LINES_S)
        if not writer.is_alive():
            handler.close()


def _write_all(lines: queue.Queue[logging.LogRecord | None], handler: logging.Handler) -> None:
    while (record := lines.get()) is not None:
        handler.handle(record)


class _Lost:
    """How many lines were lost since one was written."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.count = 0

    def add(self, count: int) -> None:
        """So many more, or fewer."""
        with self._lock:
            self.count += count


class _Entrance(QueueHandler):
    """Drops what a full queue cannot take; text is made here, since what it is made of may change."""

    def __init__(self, lines: queue.Queue[logging.LogRecord | None], lost: _Lost) -> None:
        super().__init__(lines)
        self._lost = lost

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        record.message = record.getMessage()
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            self._lost.add(1)


class _Lines(logging.Handler):
    """Writes to a descriptor, a line a write, so that nothing of a line that fails is left to be written later."""

    def __init__(self, descriptor: int, lost: _Lost) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._lost = lost
        self._cut = False

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, or count it as lost."""
        lost = self._lost.count
        try:
            record.lost = lost
            # Names of files may hold bytes that are no text.
            line = f"{self.format(record)}\n".encode(errors="backslashreplace")
            self._prepare()
            if self._cut:
                line = b"\n" + line
            written = os.write(self._descriptor, line)
            self._cut = written < len(line)
        except Exception:  # noqa: BLE001 (whatever fails, the next line is tried)
            self._lost.add(1)
            return
        self._lost.add(1 if self._cut else -lost)

    def _prepare(self) -> None:
        """Called before each line."""


class _File(_Lines):
    """Appends to a file, and opens it anew where log rotation has put it elsewhere."""

    def __init__(self, path: Path, lost: _Lost) -> None:
        super().__init__(_append(path), lost)
        self._path = path

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)
        super().close()

    def _prepare(self) -> None:
        ours = os.fstat(self._descriptor)
        try:
            there = self._path.stat()
        except FileNotFoundError:
            there = None
        if there is None or (ours.st_dev, ours.st_ino) != (there.st_dev, there.st_ino):
            descriptor = _append(self._path)
            os.close(self._descriptor)
            self._descriptor = descriptor


def _append(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)


def _open(path: Path | None, lost: _Lost) -> logging.Handler:
    if path is None:
        return _Lines(sys.__stderr__.fileno() if sys.__stderr__ is not None else 2, lost)
    try:
        return _File(path, lost)
    except OSError as error:
        raise UsageError(f"cannot write the log {path}: {error.strerror or error}") from error


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(_fields(record), default=str, ensure_ascii=False)


class _TextLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = _fields(record)
        head = f"{fields.pop('time')} {fields.pop('level'):7} {fields.pop('event')}"
        return " ".join([head, *(f"{name}={_quoted(value)}" for name, value in fields.items())])


def _fields(record: logging.LogRecord) -> dict[str, object]:
    """What a line tells: time, level, event, and the fields given as `extra={"fields": {...}}`."""
    fields: dict[str, object] = {
        "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds"),
        "level": record.levelname.lower(),
        "event": record.getMessage(),
    }
    fields |= getattr(record, "fields", {})
    if record.exc_info:
        fields["traceback"] = logging.Formatter().formatException(record.exc_info)
    if lost := getattr(record, "lost", 0):
        fields["lost_lines"] = lost
    return fields


def _quoted(value: object) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if " " in text or not text.isprintable() else text
