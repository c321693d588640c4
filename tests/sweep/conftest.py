"""Sweeps whose commands are a stand-in, `fake_edgeml.py`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from edgeml.edge_bench.results import to_json
from edgeml.edge_bench.store.store import Store
from edgeml.sweep.cache import TaskCache
from edgeml.sweep.engine import LocalEngine
from edgeml.sweep.outcome import SweepOutcome
from edgeml.sweep.plan import Plan, plan
from edgeml.sweep.run import run_sweep
from edgeml.sweep.sweep_file import read_sweep_file
from tests.made_results import make_contender, make_result

FAKE = "fake_edgeml"


class FakeSweep:
    """A directory for a sweep file, its cache and its store, and the journal of the commands that ran."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.file = directory / "sweep.toml"
        self.cache = directory / "cache"
        self.store = directory / "results.sqlite"
        self.journal_file = directory / "journal"

    def plan(self, text: str | None = None) -> Plan:
        if text is not None:
            self.file.write_text(text)
        return plan(read_sweep_file(self.file))

    def run(self, text: str | None = None, *, jobs: int = 2, again: bool = False) -> SweepOutcome:
        planned, cache = self.plan(text), TaskCache.open(self.cache)
        engine = LocalEngine(cache, self.directory, jobs=jobs, module=FAKE)
        with Store.open(self.store) as store:
            return run_sweep(planned, engine, cache, store, again=again, module=FAKE)

    def journal(self, event: str = "start") -> list[dict[str, Any]]:
        if not self.journal_file.is_file():
            return []
        lines = [json.loads(line) for line in self.journal_file.read_text().splitlines()]
        return [line for line in lines if line["event"] == event]

    def commands(self) -> list[str]:
        """The commands that were started, in order, each as its name and the file it makes."""
        return [f"{line['words'][0]} {Path(line['words'][-1]).name}" for line in self.journal()]


@pytest.fixture(scope="session")
def one_result(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A benchmark result of one contender, 2.003 ms."""
    path = tmp_path_factory.mktemp("result") / "result.json"
    path.write_text(json.dumps(to_json(make_result(make_contender(artifact="m.onnx", model="m")))))
    return path


@pytest.fixture
def fake_sweep(tmp_path: Path, one_result: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSweep:
    sweep = FakeSweep(tmp_path)
    monkeypatch.setenv("FAKE_RESULT", str(one_result))
    here = str(Path(__file__).parent)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([here, os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep))
    monkeypatch.setenv("FAKE_JOURNAL", str(sweep.journal_file))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return sweep
