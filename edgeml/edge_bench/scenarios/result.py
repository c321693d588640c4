"""Turns LoadGen's log into the result of a scenario: the score, the verdict, and why it is what it is."""

from __future__ import annotations

import math

from edgeml.core.bench_scenario import ScenarioResult
from edgeml.edge_bench.scenarios.early_stopping import fewest_queries
from edgeml.edge_bench.scenarios.log import LoadGenLog
from edgeml.edge_bench.scenarios.settings import ScenarioSettings

PERCENTILES = {"p50": 0.50, "p90": 0.90, "p95": 0.95, "p97": 0.97, "p99": 0.99, "p99.9": 0.999}

_QUERY_LATENCY = {"single-stream": "latency_ns", "multi-stream": "query_latency_ns", "server": "latency_ns"}
_QUERY_PERCENTILE = {
    "single-stream": "percentile_latency_ns",
    "multi-stream": "percentile_per_query_latency_ns",
    "server": "percentile_latency_ns",
}
_EARLY_STOPPING = {"single-stream": "early_stopping_latency_ss", "multi-stream": "early_stopping_latency_ms"}


def scenario_result(
    log: LoadGenLog,
    settings: ScenarioSettings,
    *,
    batch: int,
    expected_run_ns: float,
    runs: int,
    spent_ns: int,
) -> ScenarioResult:
    """The result of a run.

    Percentiles that the queries are too few for, by LoadGen's own rule, are left out.

    Args:
        log: what LoadGen wrote.
        settings: what was asked for.
        batch: samples in one run.
        expected_run_ns: time in nanoseconds that LoadGen was told a run takes.
        runs: runs made.
        spent_ns: time in them in nanoseconds, by our own clock.

    Raises:
        EdgeMLError: a figure is missing in the log.
    """
    queries = int(log.number("result_query_count"))
    latency_ms = _latencies(log, settings, queries)
    early_stopping = _early_stopping(log, settings)
    bound_missed = _bound_missed(log, settings, early_stopping)
    metric, value = _score(log, settings)
    return ScenarioResult(
        scenario=settings.scenario,
        valid=log.valid and not (settings.scenario == "multi-stream" and bound_missed),
        reasons=_reasons(log, bound_missed),
        metric=metric,
        value=value,
        queries=queries,
        samples_per_second=_samples_per_second(log, settings),
        latency_ms=latency_ms,
        early_stopping=early_stopping,
        settings=_settings(log, settings, batch, expected_run_ns)
        | _overhead(log, settings, queries=queries, runs=runs, spent_ns=spent_ns),
        version=log.text("loadgen_version"),
    )


def _score(log: LoadGenLog, settings: ScenarioSettings) -> tuple[str, float]:
    match settings.scenario:
        case "single-stream":
            return "90th percentile latency (ns)", _percentile_ns(log, settings, 0.90)
        case "multi-stream":
            return "99th percentile latency (ns)", _percentile_ns(log, settings, 0.99)
        case "server":
            return "Completed samples per second", log.number("result_completed_samples_per_sec")
        case "offline":
            return "Samples per second", log.number("result_samples_per_second")


def _percentile_ns(log: LoadGenLog, settings: ScenarioSettings, share: float) -> float:
    return log.number(f"result_{100 * share:.2f}_{_QUERY_PERCENTILE[settings.scenario]}")


def _samples_per_second(log: LoadGenLog, settings: ScenarioSettings) -> float:
    match settings.scenario:
        case "single-stream" if "result_qps_with_loadgen_overhead" in log.values:  # of one query there is none
            return log.number("result_qps_with_loadgen_overhead")
        case "single-stream" | "multi-stream":  # the next query follows at once
            return 1e9 * settings.samples_a_query / log.number(f"result_mean_{_QUERY_LATENCY[settings.scenario]}")
    return _score(log, settings)[1]


def _latencies(log: LoadGenLog, settings: ScenarioSettings, queries: int) -> dict[str, float]:
    """Latency of a query in milliseconds."""
    if settings.scenario == "offline":
        return {}
    found = {
        name: _percentile_ns(log, settings, share) / 1e6
        for name, share in PERCENTILES.items()
        if queries >= fewest_queries(share)
    }
    return found | {"mean": log.number(f"result_mean_{_QUERY_LATENCY[settings.scenario]}") / 1e6}


def _early_stopping(log: LoadGenLog, settings: ScenarioSettings) -> float | None:
    key = _EARLY_STOPPING.get(settings.scenario)
    if key is None or not log.flag("early_stopping_met"):
        return None
    return log.number(key) / 1e6


def _bound_missed(log: LoadGenLog, settings: ScenarioSettings, early_stopping: float | None) -> str:
    """Which latency exceeds the bound, in words; "" where none does."""
    bound, share = settings.target_latency_ms, settings.percentile
    if bound is None or share is None:
        return ""
    found = _percentile_ns(log, settings, share) / 1e6
    # In multi-stream the estimate with 99% confidence is what LoadGen would have scored.
    judged = found if early_stopping is None else early_stopping
    if judged <= bound:
        return ""
    return f"the {100 * share:.0f}th percentile of latency is {judged:.4g} ms, above the bound of {bound:g} ms"


def _reasons(log: LoadGenLog, bound_missed: str) -> tuple[str, ...]:
    """Why a run is not valid, a sentence or two each: what LoadGen met with, what it found, what it recommends."""
    if log.valid and not bound_missed:
        return ()
    stopped = "" if log.flag("early_stopping_met") else log.text("early_stopping_result")
    stopped = " ".join(part.strip() for part in stopped.split("* ") if part.strip())
    advice = log.text("result_invalid_reason")
    if bound_missed:  # of a run ended early for too long a queue, LoadGen says in one breath to reduce and increase it
        advice = advice.replace("Increase the target QPS so the loadgen pre-generates more queries.", "")
    return tuple(each for each in (*log.errors, bound_missed, " ".join(advice.split()), stopped) if each)


def _settings(log: LoadGenLog, settings: ScenarioSettings, batch: int, expected_run_ns: float) -> dict[str, float]:
    """What was asked for and what LoadGen was told."""
    asked = {
        "min_duration_s": settings.min_duration_s,
        "min_queries": settings.min_queries,
        "target_latency_ms": settings.target_latency_ms,
        "target_qps": settings.target_qps,
        "samples_per_query": None if settings.scenario == "offline" else settings.samples_a_query,
        "percentile": settings.percentile,
        "batch": batch,
        "seed": settings.seed,
        "expected_run_ms": expected_run_ns / 1e6,
    }
    if settings.scenario == "offline":
        asked["samples_per_query"] = log.number("generated_samples_per_query")
    return {name: float(value) for name, value in asked.items() if value is not None}


def _overhead(
    log: LoadGenLog, settings: ScenarioSettings, *, queries: int, runs: int, spent_ns: int
) -> dict[str, float]:
    """What LoadGen and Python add to a run, in microseconds; server's latencies hold waiting as well, so none there."""
    match settings.scenario:
        case "single-stream":
            whole_ns = queries * log.number("result_mean_latency_ns")
        case "multi-stream":
            whole_ns = queries * log.number("result_mean_query_latency_ns")
        case "offline":
            whole_ns = log.number("result_max_latency_ns")
        case "server":
            whole_ns = math.nan
    if not runs or math.isnan(whole_ns):
        return {}
    return {"overhead_us": (whole_ns - spent_ns) / runs / 1e3}
