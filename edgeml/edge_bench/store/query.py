"""Which stored runs to look at, and what is said about each without reading its samples."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta, timezone

from edgeml.core.errors import UsageError
from edgeml.core.json_values import integer, number, string

_AGO = re.compile(r"(?P<count>[0-9]{1,6})(?P<unit>[mhdw])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@dataclass(frozen=True, kw_only=True)
class RunFilter:
    """What a contender must be like; None asks for nothing. A run is found by any of its contenders.

    Attributes:
        model: its model, or a pattern of it with "*" and "?".
        precision: likewise.
        runtime: likewise.
        device: likewise.
        since: start of the run at the earliest, with a time zone.
        limit: at most so many runs, the newest.
    """

    model: str | None = None
    precision: str | None = None
    runtime: str | None = None
    device: str | None = None
    since: datetime | None = None
    limit: int | None = None


@dataclass(frozen=True, kw_only=True)
class StoredContender:
    """The figures of one contender of a stored run; those not measured are None.

    Attributes:
        position: its index in the run.
        model: the source it was made from.
        precision: arithmetic of what is not binary.
        binary: whether it has binary layers.
        runtime: what executed it.
        device: where.
        threads: threads inside one operator.
        batch: samples in one run.
        artifact: path of the model file.
        sha256: the file's digest.
        size_bytes: size of the file.
        samples: latencies taken.
        median_ms: latency of a typical launch, in milliseconds, as is all that ends in _ms.
        median_low_ms: lower end of its 95% interval.
        median_high_ms: upper end.
        p90_ms: 90th percentile.
        p99_ms: 99th percentile.
        accuracy: fraction in [0, 1].
        data: data set and split of the accuracy.
    """

    position: int
    model: str
    precision: str
    binary: bool
    runtime: str
    device: str
    threads: int
    batch: int
    artifact: str
    sha256: str
    size_bytes: int
    samples: int
    median_ms: float | None
    median_low_ms: float | None
    median_high_ms: float | None
    p90_ms: float | None
    p99_ms: float | None
    accuracy: float | None
    data: str | None


@dataclass(frozen=True, kw_only=True)
class StoredRun:
    """One stored run with those of its contenders that were asked for.

    Attributes:
        id: its number in the store.
        time: its start by the device's clock.
        machine: the device's instruction set.
        cpu_model: the device's processor.
        contenders: in the run's order.
    """

    id: int
    time: datetime
    machine: str
    cpu_model: str
    contenders: tuple[StoredContender, ...]


def parse_since(text: str, now: datetime | None = None) -> datetime:
    """The moment a user means: "2026-11-21", "2026-11-21T18:00", or an age such as "90m", "36h", "7d", "2w".

    A date without a zone is in this machine's.

    Raises:
        UsageError: it is none of these.
    """
    if (age := _AGO.fullmatch(text)) is not None:
        moment = datetime.now(timezone.utc) if now is None else now
        try:
            return moment - timedelta(**{_UNITS[age["unit"]]: int(age["count"])})
        except OverflowError as error:
            raise UsageError(f"{text!r} is longer ago than dates reach") from error
    try:
        return parse_moment(text)
    except ValueError as error:
        raise UsageError(
            f"{text!r} is no moment; give a date such as 2026-11-21 or 2026-11-21T18:00, or an age such as 36h or 7d"
        ) from error


def parse_moment(text: str) -> datetime:
    """The moment that is written in ISO 8601; without a zone, by this machine's clock.

    Raises:
        ValueError: it is none, or beyond the years 1 to 9999.
    """
    try:
        # Python 3.10 does not read the Z that others write.
        return datetime.fromisoformat(re.sub("Z$", "+00:00", text)).astimezone(timezone.utc)
    except OverflowError as error:
        raise ValueError(str(error)) from error


def select_runs(connection: sqlite3.Connection, wanted: RunFilter) -> tuple[StoredRun, ...]:
    """The runs with a contender that is `wanted`, newest first, each with those of its contenders.

    Raises:
        UsageError: a row holds what edgeml does not write.
    """
    where, values = _conditions(wanted)
    chosen = f"SELECT DISTINCT r.id, r.time FROM runs r JOIN contenders c ON c.run = r.id WHERE {where}"  # noqa: S608
    newest = f"{chosen} ORDER BY r.time DESC, r.id DESC LIMIT ?"
    limit = -1 if wanted.limit is None else wanted.limit
    columns = ", ".join(f"c.{name}" for name in StoredContender.__dataclass_fields__)
    rows = connection.execute(
        f"SELECT r.id, r.time, r.machine, r.cpu_model, {columns} "  # noqa: S608
        f"FROM runs r JOIN contenders c ON c.run = r.id WHERE {where} AND r.id IN (SELECT id FROM ({newest})) "
        "ORDER BY r.time DESC, r.id DESC, c.position",
        (*values, *values, limit),
    ).fetchall()
    return _runs(rows)


def count_runs(connection: sqlite3.Connection, wanted: RunFilter) -> int:
    """How many runs there are of those that are `wanted`, whatever its limit."""
    where, values = _conditions(wanted)
    sql = f"SELECT count(DISTINCT r.id) FROM runs r JOIN contenders c ON c.run = r.id WHERE {where}"  # noqa: S608
    (count,) = connection.execute(sql, values).fetchone()
    return int(count)


def _conditions(wanted: RunFilter) -> tuple[str, tuple[str, ...]]:
    """The condition in SQL, of constants alone, and the values of its question marks."""
    conditions, values = ["1"], []
    for column in ("model", "precision", "runtime", "device"):
        text = getattr(wanted, column)
        if text is not None:
            # Equality first: an address such as ssh://[::1] is no pattern.
            conditions.append(f"(c.{column} = ? OR c.{column} GLOB ?)")
            values += [text, text]
    if wanted.since is not None:
        conditions.append("r.time >= ?")
        values.append(utc(wanted.since))
    return " AND ".join(conditions), tuple(values)


def utc(moment: datetime) -> str:
    """ISO 8601 in UTC to the second, so that text sorts as time does."""
    return moment.astimezone(timezone.utc).isoformat(timespec="seconds")


def _runs(rows: Sequence[tuple[object, ...]]) -> tuple[StoredRun, ...]:
    """The rows, which come with those of one run together; each value is checked, since SQLite takes any type."""
    found: list[StoredRun] = []
    for run, time, machine, cpu_model, *values in rows:
        number_of_run = integer("a run's number", run)
        try:
            contender = _contender(values)
            if found and found[-1].id == number_of_run:
                found[-1] = replace(found[-1], contenders=(*found[-1].contenders, contender))
                continue
            moment = parse_moment(string("time", time))
            head = {"machine": string("machine", machine), "cpu_model": string("cpu_model", cpu_model)}
        except (UsageError, ValueError) as error:
            raise UsageError(f"the row of run {number_of_run} cannot be read: {error}") from error
        found.append(StoredRun(id=number_of_run, time=moment, contenders=(contender,), **head))
    return tuple(found)


def _contender(values: Sequence[object]) -> StoredContender:
    read: dict[str, Callable[[str, object], object]] = {"int": integer, "str": string, "float": number}
    found: dict[str, object] = {}
    for field, value in zip(fields(StoredContender), values, strict=True):
        kind, _, optional = str(field.type).partition(" | ")
        if kind == "bool":
            found[field.name] = bool(integer(field.name, value))
        else:
            found[field.name] = None if value is None and optional else read[kind](field.name, value)
    return StoredContender(**found)  # type: ignore[arg-type]  # checked just above
