"""The results store: what goes in comes out, from many processes, whatever happens to them or to the file."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from edgeml.core.bench_result import BenchResult
from edgeml.core.errors import EdgeMLError, UsageError
from edgeml.edge_bench.store import migrations
from edgeml.edge_bench.store.query import RunFilter, parse_since
from edgeml.edge_bench.store.store import Store
from tests.edge_bench.conftest import MakeContender, MakeResult


@pytest.fixture
def result(make_contender: MakeContender, make_result: MakeResult) -> BenchResult:
    return make_result([make_contender("fp32", 2.0), make_contender("int8", 1.0, 0.89)])


def at(result: BenchResult, time: str) -> BenchResult:
    return replace(result, host=replace(result.host, time=time))


def raw(path: Path, sql: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(path)
    try:
        with connection:
            return connection.execute(sql).fetchall()
    finally:
        connection.close()


def test_a_run_comes_out_as_it_went_in(tmp_path: Path, result: BenchResult) -> None:
    path = tmp_path / "results.sqlite"
    with Store.open(path) as store:
        run = store.append(result)
    with Store.open(path) as store:
        assert store.result(run) == result
        (listed,) = store.runs()
    assert (listed.id, listed.cpu_model) == (run, result.host.cpu_model)
    assert [contender.precision for contender in listed.contenders] == ["fp32", "int8"]
    assert listed.contenders[1].accuracy == 0.89
    assert listed.contenders[0].samples == 750
    assert listed.contenders[0].median_ms == pytest.approx(2.0, rel=0.05)


def test_the_same_run_is_kept_once(tmp_path: Path, result: BenchResult) -> None:
    with Store.open(tmp_path / "results.sqlite") as store:
        assert store.append(result) == store.append(result)
        assert store.append(at(result, "2026-03-01T00:00:00+00:00")) == 2
        assert store.count() == 2


def test_samples_are_kept_compressed(tmp_path: Path, result: BenchResult) -> None:
    path = tmp_path / "results.sqlite"
    with Store.open(path) as store:
        store.append(result)
        document = str(store.document(1))
    ((stored,),) = raw(path, "SELECT length(document) FROM runs")
    assert isinstance(stored, int)
    assert stored < len(document) / 2


def test_a_store_without_a_name_lies_in_the_data_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, result: BenchResult
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    with Store.open() as store:
        store.append(result)
    assert (tmp_path / "data/edgeml/results.sqlite").is_file()


def test_runs_are_found_by_what_their_contenders_are(
    tmp_path: Path, make_contender: MakeContender, make_result: MakeResult
) -> None:
    def run(precision: str, model: str, day: int, **changes: object) -> BenchResult:
        contender = replace(make_contender(precision, model=model), **changes)  # type: ignore[arg-type]
        return at(make_result([contender]), f"2026-01-{day:02d}T12:00:00+00:00")

    with Store.open(tmp_path / "results.sqlite") as store:
        # Stored out of order: a board's results may arrive later than they were measured.
        store.append(run("int8", "tinynet-e", 3))
        store.append(run("fp32", "tinynet-e", 1))
        store.append(run("fp32", "tinynet-a", 2, runtime="tvm", device="ssh://pi@[::1]"))

        def found(**wanted: object) -> list[int]:
            return [each.id for each in store.runs(RunFilter(**wanted))]  # type: ignore[arg-type]

        assert found() == [1, 3, 2]
        assert found(model="tinynet-e") == [1, 2]
        assert found(model="tinynet-*", precision="fp32") == [3, 2]
        assert found(runtime="tvm") == [3]
        assert found(device="ssh://pi@[::1]") == [3]
        assert found(limit=2) == [1, 3]
        assert found(since=datetime(2026, 1, 2, tzinfo=timezone.utc)) == [1, 3]
        assert found(since=datetime(2026, 1, 2, 12, 0, 1, tzinfo=timezone(timedelta(hours=0)))) == [1]
        assert found(model="' OR 1 --") == []
        assert store.count(RunFilter(limit=1)) == 3


def test_a_filter_shows_only_the_contenders_that_are_like_it(tmp_path: Path, result: BenchResult) -> None:
    with Store.open(tmp_path / "results.sqlite") as store:
        store.append(result)
        (run,) = store.runs(RunFilter(precision="int8"))
    assert [(each.position, each.precision) for each in run.contenders] == [(1, "int8")]


def test_moments_are_dates_or_ages() -> None:
    now = datetime(2026, 5, 8, tzinfo=timezone.utc)
    assert parse_since("7d", now) == datetime(2026, 5, 1, tzinfo=timezone.utc)
    assert parse_since("36h", now) == now - timedelta(hours=36)
    assert parse_since("2026-05-01T10:00:00Z") == datetime(2026, 5, 1, 10, tzinfo=timezone.utc)
    assert parse_since("2026-05-01T10:00+02:00") == datetime(2026, 5, 1, 8, tzinfo=timezone.utc)
    assert parse_since("2026-05-01").tzinfo is not None
    for wrong in ("yesterday", "", "7", "2026-13-01", "999999w", "0001-01-01T00:00+14:00"):
        with pytest.raises(UsageError):
            parse_since(wrong)


def test_what_is_removed_is_gone_and_its_number_is_not_given_again(tmp_path: Path, result: BenchResult) -> None:
    path = tmp_path / "results.sqlite"
    with Store.open(path) as store:
        first, second = store.append(result), store.append(at(result, "2026-03-01T00:00:00+00:00"))
        with pytest.raises(UsageError, match="there is no run 77"):
            store.remove([first, 77])
        assert store.count() == 2
        store.remove([second])
        assert store.append(at(result, "2026-04-01T00:00:00+00:00")) == 3
        for number in (second, 0, -1, 1 << 70):
            with pytest.raises(UsageError, match="there is no run"):
                store.result(number)
    assert raw(path, "SELECT DISTINCT run FROM contenders ORDER BY run") == [(1,), (3,)]


def _append_many(path: Path, result: BenchResult, writer: int, count: int) -> None:
    for index in range(count):
        with Store.open(path) as store:
            store.append(at(result, f"2026-{writer + 1:02d}-01T00:00:{index:02d}+00:00"))


def test_several_processes_write_at_once_to_a_file_that_none_has_made(tmp_path: Path, result: BenchResult) -> None:
    path, writers, count = tmp_path / "results.sqlite", 4, 6
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_append_many, args=(path, result, writer, count)) for writer in range(writers)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * writers
    with Store.open(path) as store:
        assert store.count() == writers * count
        assert len(store.result(writers * count).contenders) == 2
    assert raw(path, "PRAGMA integrity_check") == [("ok",)]
    assert raw(path, "PRAGMA journal_mode") == [("wal",)]


WRITER = """
import sys
from pathlib import Path
from dataclasses import replace
from edgeml.edge_bench.store.store import Store
store = Store.open(Path(sys.argv[1]))
result = store.result(1)
for index in range(10_000):
    store.append(replace(result, host=replace(result.host, time=f"2026-02-01T00:00:00.{index:06d}+00:00")))
    print(index, flush=True)
"""


def test_a_killed_writer_leaves_whole_runs_only(tmp_path: Path, result: BenchResult) -> None:
    path = tmp_path / "results.sqlite"
    with Store.open(path) as store:
        store.append(result)
    process = subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for _ in range(3):
        process.stdout.readline()
    time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    written = 3 + len(process.stdout.read().splitlines())
    process.wait()
    process.stdout.close()
    with Store.open(path) as store:
        # The last one may be in the file and not have been told of.
        assert store.count() - 1 in (written, written + 1)
        for run in store.runs():
            assert len(store.result(run.id).contenders) == 2


def test_a_store_that_stays_busy_is_told_of(
    tmp_path: Path, result: BenchResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "results.sqlite"
    Store.open(path).close()
    monkeypatch.setattr("edgeml.edge_bench.store.store.BUSY_TIMEOUT_S", 0.05)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with Store.open(path) as store:
        assert store.runs() == ()  # readers do not wait
        with pytest.raises(EdgeMLError, match="is busy: another process"):
            store.append(result)
        other.execute("ROLLBACK")
        other.close()
        assert store.append(result) == 1


def test_a_later_releases_file_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "results.sqlite"
    Store.open(path).close()
    raw(path, "PRAGMA user_version = 99")
    before = path.read_bytes()
    with pytest.raises(UsageError, match="has schema version 99; this edgeml reads up to 1"):
        Store.open(path)
    assert path.read_bytes() == before


def test_an_older_file_is_brought_forward_and_keeps_its_runs(
    tmp_path: Path, result: BenchResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "results.sqlite"
    with Store.open(path) as store:
        store.append(result)
    later = (*migrations.MIGRATIONS, ("ALTER TABLE runs ADD COLUMN note TEXT", "UPDATE runs SET note = 'kept'"))
    broken = (*later[:-1], (*later[-1], "INSERT INTO nowhere VALUES (1)"))
    monkeypatch.setattr(migrations, "MIGRATIONS", broken)
    with pytest.raises(EdgeMLError, match="nowhere"):
        Store.open(path)
    assert "note" not in str(raw(path, "SELECT sql FROM sqlite_master"))  # half a step is no step
    monkeypatch.setattr(migrations, "MIGRATIONS", later)
    with Store.open(path) as store:
        assert store.result(1) == result
    assert raw(path, "SELECT note FROM runs") == [("kept",)]
    assert raw(path, "PRAGMA user_version") == [(2,)]


def test_what_is_no_store_is_refused_untouched(tmp_path: Path) -> None:
    text, other, directory = tmp_path / "notes.txt", tmp_path / "other.sqlite", tmp_path / "directory"
    text.write_text("no database at all, and long enough to be read as a header" * 20)
    raw(other, "CREATE TABLE recipes (name)")
    directory.mkdir()
    before = other.read_bytes()
    with pytest.raises(UsageError, match="is no store of results"):
        Store.open(text)
    with pytest.raises(UsageError, match="database of another program"):
        Store.open(other)
    with pytest.raises(UsageError, match="is no file"):
        Store.open(directory)
    with pytest.raises(UsageError, match="does not exist; create it"):
        Store.open(tmp_path / "no/results.sqlite")
    with pytest.raises(UsageError, match="there are no stored results"):
        Store.open(tmp_path / "missing.sqlite", create=False)
    assert other.read_bytes() == before
    assert not (tmp_path / "missing.sqlite").exists()


def test_a_damaged_document_is_told_of(tmp_path: Path, result: BenchResult) -> None:
    path = tmp_path / "results.sqlite"
    with Store.open(path) as store:
        store.append(result)
    for damage, message in (("substr(document, 1, 100)", "cut off"), ("x'3132'", "cannot be read")):
        raw(path, f"UPDATE runs SET document = {damage}")
        with Store.open(path) as store, pytest.raises(UsageError, match=message):
            store.result(1)


@pytest.mark.parametrize(
    "change", ["runs SET time = 'noon'", "contenders SET median_ms = 'fast'", "contenders SET model = x'00'"]
)
def test_a_row_that_edgeml_did_not_write_is_told_of(tmp_path: Path, result: BenchResult, change: str) -> None:
    path = tmp_path / "results.sqlite"
    with Store.open(path) as store:
        store.append(result)
    raw(path, f"UPDATE {change}")
    with Store.open(path) as store, pytest.raises(UsageError, match="the row of run 1 cannot be read"):
        store.runs()


def test_a_full_disk_leaves_the_store_as_it_was(tmp_path: Path, result: BenchResult) -> None:
    path = tmp_path / "results.sqlite"
    with Store.open(path) as store:
        store.append(result)
        pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
        store._connection.execute(f"PRAGMA max_page_count = {pages}")  # SQLite's own way of a full disk
        with pytest.raises(EdgeMLError, match="database or disk is full"):
            store.append(at(result, "2026-03-01T00:00:00+00:00"))
        assert store.count() == 1
        assert store.result(1) == result
