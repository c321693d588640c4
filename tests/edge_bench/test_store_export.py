"""Exported runs, as programs that are not ours read them."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import pytest

from edgeml.core.bench_result import BenchResult
from edgeml.core.errors import MissingError
from edgeml.edge_bench.results import from_json
from edgeml.edge_bench.store.export import export_runs
from edgeml.edge_bench.store.query import RunFilter
from edgeml.edge_bench.store.store import Store
from tests.edge_bench.conftest import MakeContender, MakeResult


@pytest.fixture
def result(make_contender: MakeContender, make_result: MakeResult) -> BenchResult:
    return make_result([make_contender("fp32", 2.0), make_contender("int8", 1.0, None)])


@pytest.fixture
def store(tmp_path: Path, result: BenchResult) -> Store:
    store = Store.open(tmp_path / "results.sqlite")
    store.append(result)
    return store


def test_duckdb_reads_the_samples_out_of_parquet(store: Store, result: BenchResult, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    duckdb = pytest.importorskip("duckdb")
    path = tmp_path / "out.parquet"
    with store:
        assert export_runs(store, store.runs(), path, "parquet") == 2
    rows = duckdb.sql(
        'SELECT precision, run, len(latency_ms), list_max(launch), accuracy, median_ms, latency_ms, "binary" '
        f"FROM '{path}' ORDER BY precision"
    ).fetchall()
    assert [row[:5] for row in rows] == [("fp32", 1, 750, 4, 0.9), ("int8", 1, 750, 4, None)]
    assert tuple(rows[0][6]) == result.contenders[0].latency_ms
    assert rows[0][7] is False
    ((quantile,),) = duckdb.sql(
        f"SELECT quantile_cont(s, 0.9) FROM (SELECT unnest(latency_ms) s FROM '{path}' WHERE precision = 'fp32')"
    ).fetchall()
    ((p90,),) = duckdb.sql(f"SELECT p90_ms FROM '{path}' WHERE precision = 'fp32'").fetchall()
    assert p90 == pytest.approx(quantile, rel=0.01)


def test_a_csv_has_a_row_for_each_contender(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    with store:
        assert export_runs(store, store.runs(RunFilter(precision="int8")), path, "csv") == 1
    with path.open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["run"], row["precision"], row["accuracy"], row["binary"]) == ("1", "int8", "", "false")
    assert float(row["median_ms"]) == pytest.approx(1.0, rel=0.05)


def test_json_holds_whole_runs(store: Store, result: BenchResult, tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    with store:
        assert export_runs(store, store.runs(RunFilter(precision="int8")), path, "json") == 1
    value = json.loads(path.read_text())
    assert value["schema_version"] == 1
    assert [from_json(each) for each in value["runs"]] == [result]


def test_no_run_is_a_file_too(store: Store, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    with store:
        for ending in ("csv", "json", "parquet"):
            assert export_runs(store, (), tmp_path / f"out.{ending}", ending) == 0
    assert json.loads((tmp_path / "out.json").read_text())["runs"] == []
    assert parquet.read_table(tmp_path / "out.parquet").num_rows == 0


def test_parquet_without_pyarrow_names_the_extra(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with store, pytest.raises(MissingError, match=r"edgeml\[results\]"):
        export_runs(store, store.runs(), tmp_path / "out.parquet", "parquet")
    assert not list(tmp_path.glob("*.parquet"))
