"""LoadGen's logs, as LoadGen 6.0 writes them, and what becomes of them."""

import json
from pathlib import Path
from typing import Any

import pytest

from edgeml.core.bench_scenario import ScenarioResult
from edgeml.core.errors import EdgeMLError
from edgeml.edge_bench.scenarios.log import DETAIL_LOG, MARK, read_log
from edgeml.edge_bench.scenarios.result import scenario_result
from edgeml.edge_bench.scenarios.settings import ScenarioSettings

COMMON: dict[str, Any] = {
    "loadgen_version": "6.0.17 @ d6147c7eb7",
    "result_validity": "VALID",
    "result_min_duration_met": True,
    "result_min_queries_met": True,
    "early_stopping_met": True,
    "early_stopping_result": "",
    "result_query_count": 1780,
    "result_mean_latency_ns": 1_121_558,
    "result_50.00_percentile_latency_ns": 1_080_532,
    "result_90.00_percentile_latency_ns": 1_097_037,
    "result_95.00_percentile_latency_ns": 1_110_457,
    "result_97.00_percentile_latency_ns": 1_166_451,
    "result_99.00_percentile_latency_ns": 1_903_261,
    "result_99.90_percentile_latency_ns": 7_254_105,
}
SINGLE = COMMON | {
    "result_qps_with_loadgen_overhead": 889.382,
    "early_stopping_latency_ss": 1_098_950,
    "early_stopping_latency_ms": 4_825_440,
}
MULTI = COMMON | {
    "result_query_count": 700,
    "result_mean_query_latency_ns": 2_000_000,
    "result_50.00_percentile_per_query_latency_ns": 1_950_000,
    "result_90.00_percentile_per_query_latency_ns": 2_100_000,
    "result_95.00_percentile_per_query_latency_ns": 2_200_000,
    "result_97.00_percentile_per_query_latency_ns": 2_300_000,
    "result_99.00_percentile_per_query_latency_ns": 2_400_000,
    "result_99.90_percentile_per_query_latency_ns": 9_000_000,
    "early_stopping_latency_ms": 2_600_000,
}
SERVER = COMMON | {"result_perf_constraints_met": True, "result_completed_samples_per_sec": 184.73}
OFFLINE = COMMON | {
    "result_query_count": 1,
    "generated_samples_per_query": 264,
    "result_samples_per_second": 929.234,
    "result_max_latency_ns": 284_104_889,
}


def write_log(directory: Path, values: dict[str, Any], errors: tuple[str, ...] = (), extra: str = "") -> None:
    lines = [
        MARK + json.dumps({"key": key, "value": value, "metadata": {"is_error": False}})
        for key, value in values.items()
    ]
    lines += [
        MARK + json.dumps({"key": "error_runtime", "value": text, "metadata": {"is_error": True}}) for text in errors
    ]
    (directory / DETAIL_LOG).write_text("\n".join([*lines, extra]))


def found(
    directory: Path, values: dict[str, Any], settings: ScenarioSettings, errors: tuple[str, ...] = ()
) -> ScenarioResult:
    write_log(directory, values, errors)
    return scenario_result(
        read_log(directory), settings, batch=1, expected_run_ns=1e6, runs=1780, spent_ns=1780 * 1_100_000
    )


def test_single_stream_is_scored_by_its_90th_percentile(tmp_path: Path) -> None:
    result = found(tmp_path, SINGLE, ScenarioSettings(scenario="single-stream"))
    assert (result.valid, result.reasons, result.version) == (True, (), "6.0.17 @ d6147c7eb7")
    assert (result.metric, result.value) == ("90th percentile latency (ns)", 1_097_037)
    assert (result.queries, result.samples_per_second, result.early_stopping) == (1780, 889.382, 1.09895)
    assert result.latency_ms["p50"] == pytest.approx(1.080532)
    assert result.latency_ms["mean"] == pytest.approx(1.121558)
    assert result.settings["overhead_us"] == pytest.approx(21.558)
    assert result.settings["min_duration_s"] == 60


def test_percentiles_that_the_queries_are_too_few_for_are_left_out(tmp_path: Path) -> None:
    settings = ScenarioSettings(scenario="single-stream")
    assert list(found(tmp_path, SINGLE, settings).latency_ms) == ["p50", "p90", "p95", "p97", "p99", "mean"]
    few = found(tmp_path, SINGLE | {"result_query_count": 64}, settings)
    assert list(few.latency_ms) == ["p50", "p90", "mean"]


def test_multi_stream_is_about_whole_queries(tmp_path: Path) -> None:
    result = found(tmp_path, MULTI, ScenarioSettings(scenario="multi-stream", samples_per_query=4))
    assert (result.metric, result.value) == ("99th percentile latency (ns)", 2_400_000)
    assert (result.samples_per_second, result.early_stopping) == (2000.0, 2.6)
    assert result.latency_ms["p90"] == pytest.approx(2.1)
    assert result.settings["samples_per_query"] == 4


@pytest.mark.parametrize(("bound_ms", "valid"), [(2.7, True), (2.5, False)])
def test_a_bound_in_multi_stream_is_judged_by_the_estimate(tmp_path: Path, bound_ms: float, valid: bool) -> None:
    result = found(tmp_path, MULTI, ScenarioSettings(scenario="multi-stream", target_latency_ms=bound_ms))
    assert result.valid is valid
    expected = () if valid else ("the 99th percentile of latency is 2.6 ms, above the bound of 2.5 ms",)
    assert result.reasons == expected


def test_a_server_that_misses_its_bound_says_by_how_much(tmp_path: Path) -> None:
    values = SERVER | {
        "result_validity": "INVALID",
        "result_perf_constraints_met": False,
        "result_min_duration_met": False,
        "early_stopping_met": False,
        "early_stopping_result": " * Run unsuccessful.  * Processed 1780 queries.  * Would need 9 more.",
        "result_invalid_reason": "Reduce target QPS to improve latency. "
        "Increase the target QPS so the loadgen pre-generates more queries. ",
    }
    settings = ScenarioSettings(scenario="server", target_latency_ms=1.5, target_qps=200)
    result = found(tmp_path, values, settings, errors=("Ending early:\n Too many outstanding queries.",))
    assert result.valid is False
    assert result.reasons == (
        "Ending early: Too many outstanding queries.",
        "the 99th percentile of latency is 1.903 ms, above the bound of 1.5 ms",
        "Reduce target QPS to improve latency.",
        "Run unsuccessful. Processed 1780 queries. Would need 9 more.",
    )
    assert (result.metric, result.value, result.early_stopping) == ("Completed samples per second", 184.73, None)
    assert "overhead_us" not in result.settings


def test_offline_has_a_rate_and_no_latency(tmp_path: Path) -> None:
    result = found(tmp_path, OFFLINE, ScenarioSettings(scenario="offline", target_qps=800))
    assert (result.metric, result.value, result.samples_per_second) == ("Samples per second", 929.234, 929.234)
    assert (result.latency_ms, result.early_stopping) == ({}, None)
    assert (result.settings["samples_per_query"], result.settings["target_qps"]) == (264, 800)


def test_a_run_of_too_few_queries_is_not_valid(tmp_path: Path) -> None:
    values = SINGLE | {
        "result_validity": "INVALID",
        "result_min_queries_met": False,
        "early_stopping_met": False,
        "early_stopping_result": " * Only processed 50 queries.  * Need to process at least 64 queries.",
        "early_stopping_latency_ss": 0,
        "result_query_count": 50,
    }
    result = found(tmp_path, values, ScenarioSettings(scenario="single-stream"))
    assert (result.valid, result.early_stopping) == (False, None)
    assert result.reasons == ("Only processed 50 queries. Need to process at least 64 queries.",)


def test_a_single_query_has_no_rate_of_its_own(tmp_path: Path) -> None:
    values = {key: value for key, value in SINGLE.items() if key != "result_qps_with_loadgen_overhead"}
    write_log(tmp_path, values, extra=MARK + '{"key": "result_qps_with_loadgen_overhead", "value": -nan}')
    settings = ScenarioSettings(scenario="single-stream")
    result = scenario_result(read_log(tmp_path), settings, batch=1, expected_run_ns=1e6, runs=0, spent_ns=0)
    assert result.samples_per_second == pytest.approx(1e9 / 1_121_558)


@pytest.mark.parametrize("text", ["", "no log at all\n", MARK + "[1]\n", MARK + '{"key": "result_validity"}'])
def test_a_log_without_a_verdict_is_told_of(tmp_path: Path, text: str) -> None:
    (tmp_path / DETAIL_LOG).write_text(text)
    with pytest.raises(EdgeMLError, match="LoadGen ended without a verdict; is there space left"):
        read_log(tmp_path)


def test_a_log_that_is_not_there_is_told_of(tmp_path: Path) -> None:
    with pytest.raises(EdgeMLError, match="LoadGen wrote no log"):
        read_log(tmp_path)


def test_a_log_of_another_release_names_what_it_lacks(tmp_path: Path) -> None:
    values = {key: value for key, value in SINGLE.items() if key != "result_query_count"}
    with pytest.raises(EdgeMLError, match="LoadGen's log has no result_query_count"):
        found(tmp_path, values, ScenarioSettings(scenario="single-stream"))
