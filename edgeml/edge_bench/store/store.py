"""The results store: an SQLite file that several processes may write to at once."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import stat
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import Any

from edgeml.core.bench_result import BenchResult
from edgeml.core.errors import EdgeMLError, UsageError
from edgeml.core.user_directories import data_directory
from edgeml.edge_bench.results import from_json, to_json
from edgeml.edge_bench.store.migrations import migrate, schema_version
from edgeml.edge_bench.store.query import RunFilter, StoredRun, count_runs, parse_moment, select_runs, utc

BUSY_TIMEOUT_S = 30.0
DOCUMENT_LIMIT_BYTES = 256 << 20
_FILE_NAME = "results.sqlite"
_LARGEST_ID = (1 << 63) - 1


class Store:
    """An open store; close it, or use it in a `with`. One object belongs to the thread that opened it.

    The file is in SQLite's write-ahead-log mode (https://www.sqlite.org/wal.html): readers never wait, writers wait for
    each other up to `BUSY_TIMEOUT_S`, and a run is in the file whole or not at all, whenever the process dies. As any
    such file it must not lie on a network file system.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection

    @staticmethod
    def default_path() -> Path:
        """Where results are kept unless another file is named."""
        return data_directory() / _FILE_NAME

    @classmethod
    def open(cls, path: Path | None = None, *, create: bool = True) -> Store:
        """The store in the file `path`, brought to this release's schema.

        Args:
            path: the file; None for `default_path()`, whose directory is made as well.
            create: whether to make the file where it does not exist.

        Raises:
            UsageError: there is no such file or directory, it is no store, or a later release wrote it.
            EdgeMLError: the file cannot be written, or another process holds it for too long.
        """
        file = cls.default_path() if path is None else path
        if path is None and create:
            try:
                file.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise EdgeMLError(f"cannot make the directory {file.parent}: {error.strerror or error}") from error
        _check_place(file, create=create)
        with _told(file):
            connection = sqlite3.connect(file, timeout=BUSY_TIMEOUT_S, isolation_level=None)
            try:
                connection.execute("PRAGMA trusted_schema = OFF")  # the file may come from elsewhere
                connection.execute("PRAGMA foreign_keys = ON")
                _migrate_in_turn(connection, file)
            except BaseException:
                connection.close()
                raise
        return cls(file, connection)

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def append(self, result: BenchResult) -> int:
        """Keep a run with every sample. A run that is there already is not kept twice.

        Returns:
            Its number in this store.

        Raises:
            EdgeMLError: the file cannot be written.
        """
        value = to_json(result)
        document = json.dumps(value, allow_nan=False, separators=(",", ":")).encode()
        digest = hashlib.sha256(document).hexdigest()
        now = utc(datetime.now(timezone.utc))
        head = (
            digest,
            _run_time(result, now),
            now,
            result.host.machine,
            result.host.cpu_model,
            zlib.compress(document),
        )
        with _told(self.path), self._transaction():
            known = self._connection.execute("SELECT id FROM runs WHERE digest = ?", (digest,)).fetchone()
            if known is not None:
                return int(known[0])
            run = self._connection.execute(
                "INSERT INTO runs (digest, time, stored, machine, cpu_model, document) VALUES (?, ?, ?, ?, ?, ?)", head
            ).lastrowid
            assert run is not None
            rows = [_contender_row(run, position, each) for position, each in enumerate(value["contenders"])]
            if rows:
                names, marks = ", ".join(rows[0]), ", ".join("?" * len(rows[0]))
                self._connection.executemany(
                    f"INSERT INTO contenders ({names}) VALUES ({marks})",  # noqa: S608  # the names are ours
                    [tuple(row.values()) for row in rows],
                )
        return run

    def runs(self, wanted: RunFilter | None = None) -> tuple[StoredRun, ...]:
        """The runs that the filter lets through, newest first, without their samples."""
        with _told(self.path):
            return select_runs(self._connection, wanted or RunFilter())

    def count(self, wanted: RunFilter | None = None) -> int:
        """How many runs the filter lets through, whatever its limit."""
        with _told(self.path):
            return count_runs(self._connection, wanted or RunFilter())

    def document(self, run_id: int) -> dict[str, Any]:
        """A run with every sample as plain values, as `edgeml bench --json` prints it.

        Raises:
            UsageError: there is no such run, or what is stored of it cannot be read.
        """
        with _told(self.path):
            row = None
            if 0 < run_id <= _LARGEST_ID:
                row = self._connection.execute("SELECT document FROM runs WHERE id = ?", (run_id,)).fetchone()
        if row is None:
            raise self._no_run(run_id)
        try:
            unpacker = zlib.decompressobj()
            text = unpacker.decompress(row[0], DOCUMENT_LIMIT_BYTES)
            if not unpacker.eof:
                raise UsageError(f"run {run_id} in {self.path} is cut off or exceeds {DOCUMENT_LIMIT_BYTES} bytes")
            value = json.loads(text)
        except (zlib.error, ValueError, RecursionError) as error:
            raise UsageError(f"run {run_id} in {self.path} cannot be read: {error}") from error
        if not isinstance(value, dict):
            raise UsageError(f"run {run_id} in {self.path} holds no JSON object")
        return value

    def result(self, run_id: int) -> BenchResult:
        """A run with every sample.

        Raises:
            UsageError: there is no such run, or what is stored of it cannot be read.
        """
        document = self.document(run_id)
        try:
            return from_json(document)
        except UsageError as error:
            raise UsageError(f"run {run_id} in {self.path}: {error}") from error

    def remove(self, run_ids: Iterable[int]) -> None:
        """Remove runs, all of them or none.

        Raises:
            UsageError: there is no such run.
            EdgeMLError: the file cannot be written.
        """
        with _told(self.path), self._transaction():
            for run_id in dict.fromkeys(run_ids):
                if not (
                    0 < run_id <= _LARGEST_ID
                    and self._connection.execute("DELETE FROM runs WHERE id = ?", (run_id,)).rowcount
                ):
                    raise self._no_run(run_id)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        # A transaction that begins by reading and writes later fails at once where another wrote in between.
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def _no_run(self, run_id: int) -> UsageError:
        return UsageError(f"there is no run {run_id} in {self.path}; `edgeml results list` shows those there are")


def _check_place(file: Path, *, create: bool) -> None:
    try:
        mode = file.stat().st_mode
    except FileNotFoundError:
        if not create:
            raise UsageError(f"there are no stored results: {file} does not exist; edgeml bench writes it") from None
        if not file.parent.is_dir():
            raise UsageError(f"cannot write {file}: the directory {file.parent} does not exist; create it") from None
    except OSError as error:
        raise UsageError(f"cannot open {file}: {error.strerror or error}") from error
    else:
        if not stat.S_ISREG(mode):
            raise UsageError(f"{file} is no file; name an SQLite file, or one that does not exist yet")


def _migrate_in_turn(connection: sqlite3.Connection, file: Path) -> None:
    """Set a new file up and migrate; SQLite does not heed the busy timeout while a file's journal mode changes."""
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            if schema_version(connection, file) == 0:
                connection.execute("PRAGMA auto_vacuum = FULL")  # what is removed frees its room
                connection.execute("PRAGMA journal_mode = WAL")
            migrate(connection, file)
        except sqlite3.OperationalError as error:  # noqa: PERF203
            if not _is_busy(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


@contextmanager
def _told(file: Path) -> Iterator[None]:
    """Turn SQLite's errors into one line each."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if _is_busy(error):
            raise EdgeMLError(
                f"{file} is busy: another process has been writing to it for {BUSY_TIMEOUT_S:.0f} s; try again, or "
                "name another file with --store"
            ) from error
        raise EdgeMLError(f"cannot read or write {file}: {error}") from error
    except sqlite3.DatabaseError as error:
        raise UsageError(f"{file} is no store of results: {error}; name another file with --store") from error


def _is_busy(error: sqlite3.OperationalError) -> bool:
    # sqlite_errorcode came with Python 3.11.
    return "locked" in str(error) or "busy" in str(error)


def _run_time(result: BenchResult, now: str) -> str:
    try:
        return utc(parse_moment(result.host.time))
    except ValueError:
        return now  # a device that tells no time


def _contender_row(run: int, position: int, value: dict[str, Any]) -> dict[str, Any]:
    """The row of one contender; the figures are those of its JSON."""
    latency = value["latency_ms"]
    median_ends = (None, None) if latency is None else latency["ci95"]
    row: dict[str, Any] = {"run": run, "position": position}
    for name in ("model", "precision", "runtime", "device", "threads", "batch", "artifact", "sha256", "size_bytes"):
        row[name] = value[name]
    return row | {
        "binary": int(value["binary"]),
        "samples": 0 if latency is None else latency["samples"],
        "median_ms": None if latency is None else latency["median"],
        "median_low_ms": median_ends[0],
        "median_high_ms": median_ends[1],
        "p90_ms": None if latency is None else latency["p90"],
        "p99_ms": None if latency is None else latency["p99"],
        "accuracy": None if value["accuracy"] is None else value["accuracy"]["value"],
        "data": None if value["accuracy"] is None else value["accuracy"]["data"],
    }
