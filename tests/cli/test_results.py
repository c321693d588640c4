"""`edgeml results`, from a store to tables and files."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from edgeml.cli.results import command
from edgeml.core.bench_result import BenchResult
from edgeml.core.errors import UsageError
from edgeml.edge_bench.results import from_json
from edgeml.edge_bench.store.store import Store
from tests.made_results import make_contender, make_host, make_result


def a_run(day: int, **changes: Any) -> BenchResult:
    host = make_host(versions=(("onnxruntime", "1.31.1"),), time=f"2026-01-{day:02d}T12:00:00+00:00")
    contender = make_contender(**{"model": "[bold]tinynet-e"} | changes)
    return make_result(contender, host=host, warnings=("the machine was busy",))


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "results.sqlite"
    with Store.open(path) as store:
        for day in (1, 2, 3):
            store.append(a_run(day))
        store.append(a_run(4, precision="int8", device="ssh://pi@board", launches=()))
    return path


def results(*arguments: object, ok: bool = True) -> Result:
    done = CliRunner().invoke(command, [str(argument) for argument in arguments])
    if ok:
        assert done.exit_code == 0, (done.output, done.exception)
    return done


def test_runs_are_listed_newest_first(store: Path) -> None:
    lines = results("list", "--store", store).stdout.splitlines()
    rows = [line for line in lines if "tinynet-e" in line]
    assert len(rows) == 4
    assert "2026-01-04" in rows[0]
    assert "ssh://pi@board" in rows[0]
    assert "[bold]tinynet-e" in rows[0]
    assert "2.00 [" in rows[1]
    assert "local (Example CPU)" in rows[1]
    done = results("list", "--store", store, "--limit", 1, "--device", "local")
    assert "2 earlier runs are not shown" in done.stderr


def test_a_list_as_json_can_be_filtered(store: Path) -> None:
    value = json.loads(results("list", "--store", store, "--since", "2026-01-03", "--json").stdout)
    assert (value["schema_version"], value["count"]) == (1, 2)
    assert [run["id"] for run in value["runs"]] == [4, 3]
    assert value["runs"][0]["contenders"][0]["median_ms"] is None
    value = json.loads(results("list", "--store", store, "--precision", "fp16", "--json").stdout)
    assert value["runs"] == []
    assert "no run is like that" in results("list", "--store", store, "--precision", "fp16").stderr


def test_a_run_is_shown_as_bench_prints_it(store: Path) -> None:
    done = results("show", 1, "--store", store)
    assert "needs 662 samples" in done.stdout
    assert "measured 2026-01-01T12:00:00+00:00 on Example CPU, 2 cores" in done.stdout
    assert "the machine was busy" in done.stderr
    assert from_json(json.loads(results("show", 1, "--store", store, "--json").stdout)) == a_run(1)


def test_runs_are_exported_by_number_or_filter(store: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.csv"
    assert "3 runs, 3 contenders" in results("export", "--store", store, "--device", "local", "--output", output).stdout
    with output.open(newline="") as file:
        assert [row["run"] for row in csv.DictReader(file)] == ["3", "2", "1"]
    output = tmp_path / "out.json"
    value = json.loads(results("export", 2, 4, "--store", store, "--output", output, "--json").stdout)
    assert value["runs"] == [4, 2]
    assert len(json.loads(output.read_text())["runs"]) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("show", 77), "there is no run 77"),
        (("list", "--since", "soon"), "'soon' is no moment"),
        (("export", "--output", "out.xls"), "does not end in .parquet, .csv or .json"),
        (("export", "--output", "no/out.csv"), "cannot write no/out.csv"),
        (("export", 77, "--output", "out.csv"), "there is no run 77"),
        (("remove", 1), "add --yes"),
        (("remove", 1, 77, "--yes"), "there is no run 77"),
    ],
)
def test_mistakes_are_told_in_one_line(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[Any, ...], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = results(*arguments, "--store", store, ok=False)
    assert isinstance(done.exception, UsageError)
    assert message in str(done.exception)
    with Store.open(store) as opened:
        assert opened.count() == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results.sqlite"]


def test_a_store_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    done = results("list", "--store", tmp_path / "typo.sqlite", ok=False)
    assert "does not exist" in str(done.exception)
    assert not list(tmp_path.iterdir())


def test_runs_are_removed(store: Path) -> None:
    assert "removed: 1, 3" in results("remove", 1, 3, "--yes", "--store", store).stdout
    with Store.open(store) as opened:
        assert [run.id for run in opened.runs()] == [4, 2]
