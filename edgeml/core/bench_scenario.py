"""What MLCommons LoadGen found of one contender under one of its load scenarios."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Scenario = Literal["single-stream", "multi-stream", "server", "offline"]


@dataclass(frozen=True, kw_only=True)
class ScenarioResult:
    """One LoadGen run.

    Attributes:
        scenario: which.
        valid: LoadGen's verdict: enough queries for its early stopping, duration and latency bound met.
        reasons: why it is not valid, LoadGen's recommendations; empty where it is.
        metric: what LoadGen scores the scenario by ("90th percentile latency (ns)", "Samples per second").
        value: the score in the metric's unit.
        queries: queries issued.
        samples_per_second: throughput.
        latency_ms: latency of a query by percentile ("p50", "p90", "p95", "p97", "p99", "p99.9") and "mean", in
            milliseconds; empty for offline, which is one query.
        early_stopping: LoadGen's own estimate of the percentile after early stopping, in milliseconds; None where it
            gives none.
        settings: what was asked for: target_latency_ms, target_qps, samples_per_query, min_duration_s, ...
        version: LoadGen's version.
    """

    scenario: Scenario
    valid: bool
    reasons: tuple[str, ...]
    metric: str
    value: float
    queries: int
    samples_per_second: float
    latency_ms: dict[str, float]
    early_stopping: float | None
    settings: dict[str, float]
    version: str
