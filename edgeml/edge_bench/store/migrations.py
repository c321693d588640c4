"""The tables of the results store, and the steps that bring a file of an earlier release to them."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from edgeml.core.errors import UsageError

APPLICATION_ID = 0x65646D6C
"""Marks an SQLite file as ours ("edml" in ASCII); see https://www.sqlite.org/pragma.html#pragma_application_id."""

_RUNS = """
CREATE TABLE runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,  -- a number once told to a user never names another run
    digest TEXT NOT NULL UNIQUE,           -- SHA-256 of the document
    time TEXT NOT NULL,                    -- start by the device's clock, ISO 8601 in UTC
    stored TEXT NOT NULL,                  -- when it came into this file, by the clock of the machine that wrote it
    machine TEXT NOT NULL,
    cpu_model TEXT NOT NULL,
    document BLOB NOT NULL                 -- the results with every sample: JSON, compressed by zlib
)
"""
_CONTENDERS = """
CREATE TABLE contenders (
    run INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    model TEXT NOT NULL,
    precision TEXT NOT NULL,
    binary INTEGER NOT NULL,
    runtime TEXT NOT NULL,
    device TEXT NOT NULL,
    threads INTEGER NOT NULL,
    batch INTEGER NOT NULL,
    artifact TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    samples INTEGER NOT NULL,
    median_ms REAL,
    median_low_ms REAL,
    median_high_ms REAL,
    p90_ms REAL,
    p99_ms REAL,
    accuracy REAL,
    data TEXT,
    PRIMARY KEY (run, position)
) WITHOUT ROWID
"""

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        _RUNS,
        _CONTENDERS,
        "CREATE INDEX runs_by_time ON runs (time)",
        "CREATE INDEX contenders_by_model ON contenders (model, precision)",
        f"PRAGMA application_id = {APPLICATION_ID}",
    ),
)
"""Step i brings a file of schema version i to version i + 1. A released step is never changed; new ones are added."""


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Bring the file to this release's schema, whole or not at all; several processes may try at once.

    Args:
        connection: in autocommit mode, with a busy timeout.
        path: the file's name, for messages.

    Raises:
        UsageError: the file is of a later release, or is a database of something else.
        sqlite3.Error: the file cannot be written.
    """
    if schema_version(connection, path) == len(MIGRATIONS):
        return
    # Taken before the version is read again: whoever comes second finds the work done.
    connection.execute("BEGIN IMMEDIATE")
    try:
        for step in range(schema_version(connection, path), len(MIGRATIONS)):
            for statement in MIGRATIONS[step]:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {step + 1}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def schema_version(connection: sqlite3.Connection, path: Path) -> int:
    """The file's schema version; 0 where it is empty.

    Raises:
        UsageError: the file is of a later release, or is a database of something else.
    """
    # In one transaction, so that another process's migration is seen whole or not at all.
    within = connection.in_transaction
    if not within:
        connection.execute("BEGIN")
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    finally:
        if not within:
            connection.execute("ROLLBACK")
    if application != APPLICATION_ID and (application, version, tables) != (0, 0, 0):
        raise UsageError(f"{path} is an SQLite database of another program; name another file with --store")
    if version > len(MIGRATIONS):
        raise UsageError(
            f"{path} has schema version {version}; this edgeml reads up to {len(MIGRATIONS)}: install the edgeml that "
            "wrote it, or name another file with --store"
        )
    return int(version)
