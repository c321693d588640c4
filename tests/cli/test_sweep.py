"""`edgeml sweep`: what it shows before, prints after, and leaves as its exit code; then a real one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner, Result

from edgeml.cli.sweep import command
from edgeml.core.errors import UsageError
from edgeml.edge_bench.store.store import Store
from edgeml.sweep.engine import LocalEngine
from edgeml.sweep.run import run_sweep
from tests.sweep.conftest import FAKE, FakeSweep, fake_sweep, one_result

__all__ = ["fake_sweep", "one_result"]

SCHEMA = json.loads((Path(__file__).parents[2] / "docs/schemas/sweep.schema.json").read_text(encoding="utf-8"))
SWEEP = 'models = ["a"]\ndata = "digits"\nprecisions = ["fp32", "int8"]\n'


@pytest.fixture(autouse=True)
def _with_the_stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    for function in (LocalEngine.__init__, run_sweep):
        defaults = function.__kwdefaults__
        assert defaults is not None
        monkeypatch.setitem(defaults, "module", FAKE)


def sweep(fake: FakeSweep, *arguments: object) -> Result:
    fixed = (fake.file, "--cache", fake.cache, "--store", fake.store)
    return CliRunner().invoke(command, [str(each) for each in (*fixed, *arguments)])


def test_a_dry_run_shows_every_command_and_runs_none(fake_sweep: FakeSweep) -> None:
    fake_sweep.file.write_text(SWEEP)
    done = sweep(fake_sweep, "--dry-run")
    assert done.exit_code == 0, done.exception
    assert "export a int8\n    edgeml export " in done.stdout
    assert "--precision int8 --calibration digits --data digits" in done.stdout
    assert "2 cells; 3 of 3 tasks are left to do" in done.stdout
    assert fake_sweep.journal() == []
    assert not fake_sweep.store.exists()
    assert sweep(fake_sweep).exit_code == 0
    value = json.loads(sweep(fake_sweep, "--dry-run", "--json").stdout)
    assert [task["cached"] for task in value["tasks"]] == [True] * 3


def test_people_get_a_table_and_programs_one_object(fake_sweep: FakeSweep) -> None:
    fake_sweep.file.write_text(SWEEP)
    done = sweep(fake_sweep)
    assert done.exit_code == 0, done.exception
    assert "2.00 [2.00, 2.00]" in done.stdout
    assert done.stderr == ""
    value = json.loads(sweep(fake_sweep, "--json").stdout)
    jsonschema.validate(value, SCHEMA)
    assert [(cell["precision"], cell["state"], cell["run"]) for cell in value["cells"]] == [
        ("fp32", "cached", 1),
        ("int8", "cached", 1),
    ]


def test_failures_are_listed_and_the_exit_code_is_1(fake_sweep: FakeSweep, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_FAIL", "a-int8.onnx")
    fake_sweep.file.write_text(SWEEP)
    done = sweep(fake_sweep, "--json")
    assert done.exit_code == 1
    assert "edgeml: export a int8 failed: a-int8.onnx cannot be made (all it printed: " in done.stderr
    assert "1 of 2 cells were not measured" in done.stderr
    value = json.loads(done.stdout)
    jsonschema.validate(value, SCHEMA)
    assert [cell["state"] for cell in value["cells"]] == ["done", "not run"]


def test_runs_need_not_be_kept(fake_sweep: FakeSweep) -> None:
    fake_sweep.file.write_text(SWEEP)
    fixed = (str(fake_sweep.file), "--cache", str(fake_sweep.cache), "--no-store")
    done = CliRunner().invoke(command, [*fixed, "--json"])
    assert done.exit_code == 0, done.exception
    assert {cell["run"] for cell in json.loads(done.stdout)["cells"]} == {None}
    assert not fake_sweep.store.exists()
    assert isinstance(sweep(fake_sweep, "--no-store").exception, UsageError)


REAL = """
models = ["net.onnx"]
data = "digits"
precisions = ["fp32", "int8"]
threads = [1]
[export]
max_accuracy_drop = 100
[bench]
samples = 70
launches = 2
limit = 40
"""


@pytest.mark.slow
def test_a_real_sweep_measures_what_it_exported(tmp_path: Path, write_conv_net: Callable[..., Path]) -> None:
    pytest.importorskip("sklearn")
    write_conv_net("net.onnx", channels=8, size=8)
    file, store = tmp_path / "sweep.toml", tmp_path / "results.sqlite"
    file.write_text(REAL)
    words = ("sweep", file, "--cache", tmp_path / "cache", "--store", store, "--json")
    done = subprocess.run(
        [sys.executable, "-m", "edgeml.cli.main", *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "XDG_CONFIG_HOME": str(tmp_path / "config")},
    )
    assert done.returncode == 0, done.stderr
    cells = json.loads(done.stdout)["cells"]
    assert [(cell["precision"], cell["state"], cell["run"]) for cell in cells] == [
        ("fp32", "done", 1),
        ("int8", "done", 1),
    ]
    with Store.open(store) as opened:
        contenders = opened.result(1).contenders
    assert [contender.precision for contender in contenders] == ["fp32", "int8"]
    assert contenders[1].accuracy is not None
    assert contenders[1].accuracy.value == cells[1]["accuracy"]
