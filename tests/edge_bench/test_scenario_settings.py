import json
import math
from typing import Any, get_args

import pytest
from scipy import stats

from edgeml.core.bench_scenario import Scenario
from edgeml.core.errors import UsageError
from edgeml.edge_bench.scenarios.early_stopping import CONFIDENCE, fewest_queries
from edgeml.edge_bench.scenarios.settings import SAMPLES_PER_QUERY, ScenarioSettings

SERVER: dict[str, Any] = {"scenario": "server", "target_latency_ms": 10.0, "target_qps": 100.0}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scenario": "streaming"}, "scenario is 'streaming'; it must be one of single-stream"),
        ({"min_duration_s": 0.0}, "min_duration_s is 0; it must be from 0.01 to 86400"),
        ({"min_duration_s": math.nan}, "min_duration_s is nan"),
        ({"min_duration_s": math.inf}, "min_duration_s is inf"),
        ({"target_latency_ms": 10.0}, "target_latency_ms is 10; single-stream has none, only server and multi-stream"),
        ({"target_qps": 10.0}, "target_qps is 10; single-stream has none, only server and offline"),
        ({"samples_per_query": 8}, "samples_per_query is 8; single-stream has none"),
        ({"scenario": "multi-stream", "samples_per_query": 0}, "samples_per_query is 0; it must be from 1 to 4096"),
        ({"scenario": "offline", "target_qps": 0.0}, "target_qps is 0; it must be from 0.001"),
        ({"scenario": "offline", "target_qps": 1e12}, "target_qps is 1e[+]12"),
        ({"seed": -1}, "seed is -1"),
        (SERVER | {"target_latency_ms": None}, "target_latency_ms is not given; server needs it"),
        (SERVER | {"target_qps": None}, "target_qps is not given; server needs it"),
        (SERVER | {"target_latency_ms": 0.0}, "target_latency_ms is 0; it must be above 0 and at most 3.6e[+]06"),
        (SERVER | {"target_latency_ms": -1.0}, "target_latency_ms is -1"),
        (
            SERVER | {"target_qps": 1.0},
            r"target_qps is 1; server needs 662 queries, which take 662 s .* times min_duration",
        ),
    ],
)
def test_what_loadgen_cannot_take_is_refused_in_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ScenarioSettings(**({"scenario": "single-stream"} | changes))


@pytest.mark.parametrize(
    "settings",
    [
        ScenarioSettings(scenario="single-stream"),
        ScenarioSettings(scenario="multi-stream", samples_per_query=4, target_latency_ms=50.0),
        ScenarioSettings(**SERVER, min_duration_s=600.0, seed=7),
        ScenarioSettings(scenario="offline", target_qps=123.5),
    ],
)
def test_settings_travel_as_json(settings: ScenarioSettings) -> None:
    assert ScenarioSettings.from_json(json.loads(json.dumps(settings.to_json()))) == settings


def test_what_json_leaves_out_has_its_default() -> None:
    assert ScenarioSettings.from_json({"scenario": "offline"}) == ScenarioSettings(scenario="offline")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({}, "the scenario lacks scenario"),
        ({"scenario": "offline", "duration": 1}, "unknown key 'duration'"),
        ({"scenario": "offline", "min_duration_s": "60"}, "min_duration_s is '60'; it must be a finite number"),
        ({"scenario": "multi-stream", "samples_per_query": 2.5}, "samples_per_query is 2.5; it must be a whole number"),
        ([], "the scenario is list; it must be an object"),
    ],
)
def test_other_json_is_refused(value: object, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ScenarioSettings.from_json(value)


def test_a_multi_stream_query_has_eight_samples_unless_told_otherwise() -> None:
    assert ScenarioSettings(scenario="multi-stream").samples_a_query == SAMPLES_PER_QUERY == 8
    assert ScenarioSettings(scenario="multi-stream", samples_per_query=3).samples_a_query == 3
    assert ScenarioSettings(scenario="single-stream").samples_a_query == 1


def test_every_scenario_asks_for_the_queries_its_percentile_takes() -> None:
    asked = {
        scenario: ScenarioSettings(**(SERVER if scenario == "server" else {"scenario": scenario})).min_queries
        for scenario in get_args(Scenario)
    }
    assert asked == {"single-stream": 64, "multi-stream": 662, "server": 662, "offline": 1}


@pytest.mark.parametrize("percentile", [0.5, 0.9, 0.95, 0.97, 0.99, 0.999])
def test_the_fewest_queries_are_those_of_the_binomial_distribution(percentile: float) -> None:
    count = fewest_queries(percentile)
    assert stats.binom.cdf(1, count, 1 - percentile) <= 1 - CONFIDENCE < stats.binom.cdf(1, count - 1, 1 - percentile)
