"""LoadGen itself, around models whose runs take a millisecond."""

import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from edgeml.core.bench_scenario import Scenario, ScenarioResult
from edgeml.core.device import LOCAL
from edgeml.core.errors import EdgeMLError, MissingError, UsageError
from edgeml.core.session import SessionOptions
from edgeml.edge_bench.feeds import random_feeds
from edgeml.edge_bench.scenarios import loadgen
from edgeml.edge_bench.scenarios.loadgen import DISTINCT_SAMPLES, run_scenario
from edgeml.edge_bench.scenarios.log import LoadGenLog, read_log
from edgeml.edge_bench.scenarios.settings import ScenarioSettings
from edgeml.edge_bench.scenarios.system_under_test import QueuedSystem
from edgeml.runtime.onnx_file import open_artifact
from edgeml.runtime.registry import get_runtime

SHORT_S = 0.2
SERVER: dict[str, Any] = {"scenario": "server", "target_latency_ms": 60_000.0, "target_qps": 400.0}
ALL: list[dict[str, Any]] = [
    {"scenario": "single-stream"},
    {"scenario": "multi-stream"},
    SERVER,
    {"scenario": "offline"},
]

pytest.importorskip("mlperf_loadgen")


class Model:
    """Runs of a millisecond that remember when and by whom they were made."""

    def __init__(self, fails_at: int | None = None, error: type[BaseException] = ValueError) -> None:
        self.latencies_ns: list[int] = []
        self.indices: list[int] = []
        self.threads: set[int] = set()
        self._fails_at = fails_at
        self._error = error

    def run(self, index: int) -> None:
        start = time.perf_counter_ns()
        if len(self.indices) == self._fails_at:
            raise self._error("the model fell over")
        self.indices.append(index)
        self.threads.add(threading.get_ident())
        time.sleep(0.001)
        self.latencies_ns.append(time.perf_counter_ns() - start)


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """What makes verdicts depend on the machine that runs the tests: a long warm-up, and an end to a slow run."""
    monkeypatch.setattr(loadgen, "WARM_UP_S", 0.05)
    monkeypatch.setattr(loadgen, "LONGEST_OVER_MIN_DURATION", 1000)


@pytest.fixture
def enough_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    """LoadGen is told that runs take half the time that they take at least, so queries cannot run out."""
    monkeypatch.setattr(loadgen, "_typical_ns", lambda _run: 0.5e6)


@pytest.fixture(autouse=True)
def nothing_is_left(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    directory = tmp_path / "logs"
    directory.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(directory))
    before = set(threading.enumerate())
    yield
    assert list(directory.iterdir()) == []
    assert set(threading.enumerate()) <= before


@pytest.mark.usefixtures("enough_queries")
def test_single_stream_finds_what_our_own_clock_finds() -> None:
    model = Model()
    result = run_scenario(model.run, 1, ScenarioSettings(scenario="single-stream", min_duration_s=SHORT_S))
    assert result.valid, result.reasons
    own = sorted(model.latencies_ns[-result.queries :])
    # LoadGen's clock runs around ours, so each of its order statistics is at least ours.
    assert result.value >= own[int(0.9 * len(own))]
    assert result.latency_ms["mean"] * 1e6 >= np.mean(own) - 1
    between_ms = result.latency_ms["mean"] - np.mean(own) / 1e6
    assert 0 <= result.settings["overhead_us"] <= between_ms * 1e3 + 1
    assert result.early_stopping is not None
    assert result.early_stopping >= result.latency_ms["p90"]
    assert max(model.indices) < DISTINCT_SAMPLES
    assert msgspec.convert(msgspec.to_builtins(result), type=ScenarioResult) == result


@pytest.mark.usefixtures("enough_queries")
def test_multi_stream_answers_a_query_of_many_samples_in_runs_of_the_batch() -> None:
    model = Model()
    settings = ScenarioSettings(scenario="multi-stream", min_duration_s=SHORT_S, samples_per_query=2)
    result = run_scenario(model.run, 2, settings)
    assert result.valid, result.reasons
    assert result.queries >= 662
    assert result.settings["samples_per_query"] == result.settings["batch"] == 2
    own = sorted(model.latencies_ns[-result.queries :])
    assert result.value >= own[int(0.99 * len(own))]


@pytest.mark.usefixtures("enough_queries")
def test_offline_sends_everything_at_once() -> None:
    model = Model()
    settings = ScenarioSettings(scenario="offline", min_duration_s=SHORT_S)
    result = run_scenario(model.run, 4, settings)
    assert result.valid, result.reasons
    assert result.queries == 1
    runs = -(-int(result.settings["samples_per_query"]) // 4)
    taken_s = sum(model.latencies_ns[-runs:]) / 1e9
    assert result.samples_per_second <= result.settings["samples_per_query"] / taken_s


def test_a_server_with_time_to_spare_is_valid() -> None:
    model = Model()
    result = run_scenario(model.run, 1, ScenarioSettings(**SERVER, min_duration_s=SHORT_S))
    assert result.valid, result.reasons
    assert result.queries >= 662
    assert result.latency_ms["p50"] * 1e6 >= min(model.latencies_ns)
    assert model.threads == {threading.get_ident()}


def test_a_server_that_cannot_keep_up_is_ended_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loadgen, "_typical_ns", lambda _run: 1e6)
    settings = ScenarioSettings(scenario="server", target_latency_ms=2.0, target_qps=5000, min_duration_s=2.0)
    result = run_scenario(Model().run, 1, settings)
    assert not result.valid
    assert "Too many outstanding queries" in result.reasons[0]
    assert "above the bound of 2 ms" in result.reasons[1]
    assert result.reasons[2].startswith("Reduce target QPS to improve latency.")
    assert not any("Increase" in reason for reason in result.reasons)
    assert result.queries < 5000 * 2 / 4


@pytest.mark.usefixtures("enough_queries")
@pytest.mark.parametrize("scenario", ["single-stream", "multi-stream", "offline"])
def test_the_model_is_run_by_the_calling_thread(scenario: Scenario) -> None:
    model = Model()
    samples = 1 if scenario == "multi-stream" else None
    run_scenario(model.run, 1, ScenarioSettings(scenario=scenario, min_duration_s=0.05, samples_per_query=samples))
    assert model.threads == {threading.get_ident()}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("scenario", ALL, ids=lambda each: each["scenario"])
def test_a_model_that_fails_ends_the_run_and_another_can_follow(
    scenario: dict[str, Any], error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loadgen, "_typical_ns", lambda _run: 1e6)
    issued: list[int] = []
    issue = QueuedSystem.issue

    def counted(self: QueuedSystem, samples: Sequence[Any]) -> None:
        issued.append(len(samples))
        issue(self, samples)

    monkeypatch.setattr(QueuedSystem, "issue", counted)
    settings = ScenarioSettings(**(scenario | _quick_bound(scenario)), min_duration_s=20.0)
    with pytest.raises(error, match="the model fell over"):
        run_scenario(Model(fails_at=3, error=error).run, 1, settings)
    assert sum(issued) < 20.0 * SERVER["target_qps"] / 4  # the others' queries come as fast as they are answered
    again = ScenarioSettings(scenario="single-stream", min_duration_s=0.05)
    assert run_scenario(Model().run, 1, again).queries >= 64


@pytest.mark.usefixtures("enough_queries")
@pytest.mark.parametrize(
    ("scenario", "line"),
    [
        ("single-stream", "90.0th percentile latency (ns) : {:.0f}"),
        ("multi-stream", "99.0th percentile latency (ns) : {:.0f}"),
        ("offline", "Samples per second: {:g}"),
    ],
)
def test_the_score_and_the_verdict_are_those_of_loadgens_summary(
    scenario: Scenario, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    summaries: list[str] = []

    def read(directory: Path) -> LoadGenLog:
        summaries.append((directory / "mlperf_log_summary.txt").read_text())
        return read_log(directory)

    monkeypatch.setattr(loadgen, "read_log", read)
    samples = 1 if scenario == "multi-stream" else None
    settings = ScenarioSettings(scenario=scenario, min_duration_s=0.05, samples_per_query=samples)
    result = run_scenario(Model().run, 1, settings)
    (summary,) = summaries
    assert line.format(result.value) in summary.splitlines()
    assert f"Result is : {'VALID' if result.valid else 'INVALID'}" in summary.splitlines()
    for name, milliseconds in result.latency_ms.items():
        label = "Mean latency" if name == "mean" else f"{float(name[1:]):.2f} percentile latency"
        assert [row.split(":")[1].strip() for row in summary.splitlines() if row.startswith(label)] == [
            f"{milliseconds * 1e6:.0f}"
        ]


def test_queries_are_made_anew_until_they_last(monkeypatch: pytest.MonkeyPatch) -> None:
    expected: list[float] = []

    def attempt(_run: object, plan: loadgen.Plan, _settings: object) -> tuple[object, bool]:
        expected.append(plan.run_ns)
        return f"attempt {len(expected)}", len(expected) < 2

    monkeypatch.setattr(loadgen, "_attempt", attempt)
    monkeypatch.setattr(loadgen, "_typical_ns", lambda _run: 3e6)
    settings = ScenarioSettings(scenario="offline")
    assert str(run_scenario(Model().run, 1, settings)) == "attempt 2"
    assert expected == [3e6, 2e6]
    monkeypatch.setattr(loadgen, "_attempt", lambda *_: ("too few", True))
    assert str(run_scenario(Model().run, 1, settings)) == "too few"


def test_a_model_that_takes_no_time_is_no_reason_to_fill_the_memory() -> None:
    result = run_scenario(lambda _: None, 1, ScenarioSettings(scenario="single-stream", min_duration_s=0.05))
    assert result.valid, result.reasons
    assert result.settings["expected_run_ms"] == pytest.approx(1e-3)


@pytest.mark.parametrize(
    ("batch", "settings", "message"),
    [
        (8, {"scenario": "single-stream"}, "a run takes 8 samples; single-stream sends 1 a query"),
        (2, SERVER, "a run takes 2 samples; server sends 1 a query"),
        (3, {"scenario": "multi-stream"}, "a run takes 3 samples; multi-stream sends 8 a query"),
        (1, {"scenario": "offline", "target_qps": 1e6}, r"target_qps is 1e\+06; the model answers about 1e\+03"),
        (1, SERVER | {"target_qps": 20_000.0}, "at most 10 times that can be asked for"),
    ],
)
def test_what_does_not_fit_the_model_is_refused(
    batch: int, settings: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loadgen, "_typical_ns", lambda _run: 1e6)
    with pytest.raises(UsageError, match=message):
        run_scenario(Model().run, batch, ScenarioSettings(**settings))


@pytest.mark.parametrize("scenario", ALL, ids=lambda each: each["scenario"])
def test_queries_that_do_not_fit_the_memory_are_refused(
    scenario: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loadgen, "_typical_ns", lambda _run: 1e6)
    monkeypatch.setattr(loadgen, "available_memory_bytes", lambda: 1 << 20)
    with pytest.raises(UsageError, match=r"LoadGen makes all queries beforehand.*of the 1 MB available"):
        run_scenario(Model().run, 1, ScenarioSettings(**scenario))


def test_a_log_that_cannot_be_written_is_told_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(EdgeMLError, match=r"LoadGen's log cannot be written.*TMPDIR"):
        run_scenario(Model().run, 1, ScenarioSettings(scenario="single-stream", min_duration_s=SHORT_S))


def test_loadgen_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlperf_loadgen", None)
    model = Model()
    with pytest.raises(MissingError, match=r"edgeml\[scenarios\]"):
        run_scenario(model.run, 1, ScenarioSettings(scenario="single-stream"))
    assert model.indices == []


@pytest.mark.usefixtures("enough_queries")
def test_a_file_of_settings_in_the_working_directory_is_not_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "audit.config").write_text("*.*.min_query_count = 1000000\n*.*.min_duration = 600000\n")
    monkeypatch.chdir(tmp_path)
    result = run_scenario(Model().run, 1, ScenarioSettings(scenario="single-stream", min_duration_s=0.05))
    assert result.valid, result.reasons


def test_a_session_of_onnxruntime_is_measured(write_conv_net: Callable[..., Path]) -> None:
    session = get_runtime("onnxruntime").open(open_artifact(write_conv_net()), LOCAL, SessionOptions(threads=1))
    feeds = random_feeds(session.inputs, 1, 0)
    settings = ScenarioSettings(scenario="single-stream", min_duration_s=0.05)
    result = run_scenario(lambda index: session.run(feeds[index % len(feeds)]), 1, settings)
    session.close()
    assert result.queries >= 64
    assert 0 < result.latency_ms["p50"] <= result.latency_ms["p90"]


def test_nothing_heavy_is_imported() -> None:
    program = (
        "import sys, edgeml.edge_bench.scenarios.loadgen\n"
        "print([name for name in ('mlperf_loadgen', 'scipy', 'msgspec', 'onnxruntime') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def _quick_bound(scenario: dict[str, Any]) -> dict[str, Any]:
    return {"target_latency_ms": 2.0} if scenario["scenario"] == "server" else {}
