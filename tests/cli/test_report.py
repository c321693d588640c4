"""`edgeml report`, from result files to a page and printed verdicts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from edgeml.cli.main import cli
from edgeml.core.errors import UsageError
from edgeml.core.host import HostInfo
from edgeml.edge_bench.video.results_json import write_results
from tests.edge_bench.video_run import video_result

HOST = {
    "machine": "x86_64",
    "system": "Linux 6.1",
    "cpu_model": "Example CPU",
    "cpu_features": [],
    "logical_cores": 2,
    "available_cores": 2,
    "cgroup_cpu_quota": None,
    "memory_bytes": None,
    "governor": None,
    "frequency_mhz": [],
    "temperature_c": None,
    "load_average": None,
    "virtualized": None,
    "versions": {},
    "time": "2026-01-02T03:04:05+00:00",
}


def contender(precision: str, latency_ms: float) -> dict[str, Any]:
    launch = {
        "latency_ms": [latency_ms, latency_ms * 1.01, latency_ms * 0.99],
        "block": [0, 0, 1],
        "warmup": 3,
        "stable": True,
        "load_ms": 5.0,
        "peak_memory_bytes": 1 << 20,
    }
    latency = {"median": 0, "ci95": [0, 0], "samples": 6}
    percentiles = {name: None for p in ("p90", "p95", "p99") for name in (p, f"{p}_ci95")}
    return {
        "artifact": f"{precision}.onnx",
        "model": "tinynet-e",
        "precision": precision,
        "runtime": "onnxruntime",
        "device": "local",
        "threads": 1,
        "batch": 1,
        "latency_ms": latency | percentiles,
        "accuracy": None,
        "size_bytes": 1000,
        "sha256": "00",
        "load_ms": 5.0,
        "peak_memory_bytes": 1 << 20,
        "launches": [launch, launch],
    }


def results(directory: Path, name: str = "results.json") -> Path:
    """A result file written by hand, as docs/schemas describes it."""
    comparison = {
        "a": 1,
        "b": 0,
        "ratio": 2.0,
        "ci95": [1.9, 2.1],
        "verdict": "faster",
        "accuracy_difference": None,
        "accuracy_ci95": None,
    }
    document = {
        "schema_version": 1,
        "contenders": [contender("fp32", 2.0), contender("int8", 1.0)],
        "comparisons": [comparison],
        "host": HOST,
        "warnings": [],
    }
    path = directory / name
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def report(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["report", *map(str, arguments)])


def test_the_page_is_written_and_the_verdicts_are_printed(tmp_path: Path) -> None:
    output = tmp_path / "r.html"
    completed = report(results(tmp_path), "--output", output)
    assert completed.exit_code == 0, completed.output
    assert completed.stdout.splitlines() == [
        "fp32 is the baseline.",
        "int8 is 2.0x [1.9, 2.1] faster than fp32, accuracy not measured: it pays if its accuracy holds.",
        f"report: {output}",
    ]
    assert "<title>tinynet-e" in output.read_text(encoding="utf-8")


def test_several_results_make_one_page_with_the_title_given(tmp_path: Path) -> None:
    output = tmp_path / "r.html"
    sources = [results(tmp_path, "a.json"), results(tmp_path, "b.json")]
    assert report(*sources, "--output", output, "--title", "Monday").exit_code == 0
    page = output.read_text(encoding="utf-8")
    assert "<title>Monday" in page
    assert "int8 (run 2)" in page


def test_json_is_one_object(tmp_path: Path) -> None:
    output = tmp_path / "r.html"
    printed = json.loads(report(results(tmp_path), "--output", output, "--json").stdout)
    assert printed["schema_version"] == 1
    assert printed["report"] == str(output)
    assert printed["size_bytes"] == output.stat().st_size
    assert [verdict["outcome"] for verdict in printed["verdicts"]] == ["baseline", "pays"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema_version": 2}', "\x00", "<html>"])
def test_a_file_that_holds_no_results_is_a_usage_error_and_nothing_is_written(tmp_path: Path, text: str) -> None:
    source = tmp_path / "r.json"
    source.write_text(text, encoding="utf-8")
    completed = report(source, "--output", tmp_path / "r.html")
    assert isinstance(completed.exception, UsageError)
    assert str(source) in str(completed.exception)
    assert not (tmp_path / "r.html").exists()


def test_a_directory_that_does_not_exist_is_a_usage_error(tmp_path: Path) -> None:
    completed = report(results(tmp_path), "--output", tmp_path / "no" / "r.html")
    assert isinstance(completed.exception, UsageError)


def clip_results(directory: Path) -> Path:
    path = directory / "clip.json"
    write_results(video_result(HostInfo.from_json(HOST)), path)
    return path


def test_results_on_a_clip_have_their_own_page(tmp_path: Path) -> None:
    output = tmp_path / "r.html"
    completed = report(clip_results(tmp_path), "--output", output, "--title", "Monday")
    assert completed.exit_code == 0, completed.output
    first, *_, last = completed.stdout.splitlines()
    assert first == "The stream is 2.0x [1.9, 2.1] faster than int8 on every frame, amortized over the clip."
    assert last == f"report: {output}"
    page = output.read_text(encoding="utf-8")
    assert "<title>Monday on video" in page
    assert "Frame by frame" in page
    printed = json.loads(report(clip_results(tmp_path), "--output", output, "--json").stdout)
    assert printed["size_bytes"] == output.stat().st_size
    assert printed["sentences"][0] == first


def test_what_means_nothing_for_a_clip_is_refused(tmp_path: Path) -> None:
    path, output = clip_results(tmp_path), tmp_path / "r.html"
    for arguments, message in (
        ((path, results(tmp_path)), "2 runs are given, 1 of them on a clip"),
        ((path, "--tolerance", "1"), "--tolerance is given with results on a clip"),
    ):
        completed = report(*arguments, "--output", output)
        assert isinstance(completed.exception, UsageError)
        assert message in str(completed.exception)
    assert not output.exists()


def test_a_call_without_results_is_refused(tmp_path: Path) -> None:
    assert report("--output", tmp_path / "r.html").exit_code == 2
