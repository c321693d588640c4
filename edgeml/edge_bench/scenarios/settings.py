"""What a load scenario is asked to do, checked before LoadGen sees it: LoadGen itself hangs or aborts on bad values."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, cast, get_args

from edgeml.core.bench_scenario import Scenario
from edgeml.core.errors import UsageError
from edgeml.core.json_values import choice, integer, mapping, number, record
from edgeml.edge_bench.scenarios.early_stopping import fewest_queries

SAMPLES_PER_QUERY = 8
LONGEST_OVER_MIN_DURATION = 10
"""A run that has not enough queries by then is ended, and is not valid."""

OVERLOAD_LIMIT = 10
"""Most that may be asked for, in multiples of what the model does: more would only fill memory and take hours."""

_SHORTEST_S, _LONGEST_S = 0.01, 86_400.0
_LONGEST_LATENCY_MS = 3_600_000.0
_SLOWEST_QPS, _FASTEST_QPS = 1e-3, 1e6
_MOST_SAMPLES_PER_QUERY = 4096
_TIMEOUT_ALLOWANCE_S = 600.0


@dataclass(frozen=True, kw_only=True)
class ScenarioSettings:
    """One run of LoadGen (MLPerf Inference, Reddi et al., ISCA 2020, section III-C).

    Attributes:
        scenario: "single-stream" sends the next query of one sample when the last is answered; "multi-stream" the same
            with `samples_per_query` samples; "server" sends queries of one sample at random moments (a Poisson
            process); "offline" sends all samples at once.
        min_duration_s: shortest time in seconds that queries are sent for. MLPerf's rules ask for 600.
        target_latency_ms: latency in milliseconds that 99% of queries must meet. Server needs it; in multi-stream it is
            optional, and judged by edgeml since LoadGen sets no bound there; the others have none.
        target_qps: samples a second: the mean rate of server, which needs it; in offline what to expect, by which
            LoadGen sizes its one query, measured beforehand where it is None; the others send as fast as they are
            answered.
        samples_per_query: samples of a query in multi-stream; None takes `SAMPLES_PER_QUERY`, the rules' number.
        seed: decides which samples are sent and when.
    """

    scenario: Scenario
    min_duration_s: float = 60.0
    target_latency_ms: float | None = None
    target_qps: float | None = None
    samples_per_query: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        choice("scenario", self.scenario, get_args(Scenario))
        _within("min_duration_s", self.min_duration_s, _SHORTEST_S, _LONGEST_S)
        if self.target_latency_ms is not None:
            _within("target_latency_ms", self.target_latency_ms, 0.0, _LONGEST_LATENCY_MS)
        if self.target_qps is not None:
            _within("target_qps", self.target_qps, _SLOWEST_QPS, _FASTEST_QPS)
        if self.samples_per_query is not None:
            _within("samples_per_query", self.samples_per_query, 1, _MOST_SAMPLES_PER_QUERY)
        _within("seed", self.seed, 0, (1 << 63) - 1)
        if self.scenario == "server":
            for name in ("target_latency_ms", "target_qps"):
                if getattr(self, name) is None:
                    raise UsageError(f"{name} is not given; server needs it: the bound and the rate are the scenario")
            if self.duration_s > LONGEST_OVER_MIN_DURATION * self.min_duration_s:
                raise UsageError(
                    f"target_qps is {self.target_qps:g}; server needs {self.min_queries} queries, which take "
                    f"{self.duration_s:.0f} s at that rate, over {LONGEST_OVER_MIN_DURATION} times min_duration_s "
                    f"({self.min_duration_s:g}): ask for a higher rate or a longer duration"
                )
        self._refuse("target_latency_ms", ("server", "multi-stream"))
        self._refuse("target_qps", ("server", "offline"))
        self._refuse("samples_per_query", ("multi-stream",))

    def _refuse(self, name: str, scenarios: tuple[str, ...]) -> None:
        value = getattr(self, name)
        if value is not None and self.scenario not in scenarios:
            raise UsageError(f"{name} is {value:g}; {self.scenario} has none, only {' and '.join(scenarios)}: omit it")

    @property
    def samples_a_query(self) -> int:
        """Samples in one query; of offline, whose one query LoadGen sizes, 1."""
        if self.scenario != "multi-stream":
            return 1
        return SAMPLES_PER_QUERY if self.samples_per_query is None else self.samples_per_query

    @property
    def percentile(self) -> float | None:
        """The share of queries that the score or the bound is about, by MLPerf's rules; None for offline."""
        return {"single-stream": 0.90, "multi-stream": 0.99, "server": 0.99, "offline": None}[self.scenario]

    @property
    def min_queries(self) -> int:
        """The fewest queries that LoadGen's early stopping accepts; of offline 1."""
        return 1 if self.percentile is None else fewest_queries(self.percentile)

    @property
    def timeout_s(self) -> float:
        """Seconds after which a run must have hung: whatever is asked for, it is shorter."""
        return 1.2 * (LONGEST_OVER_MIN_DURATION + OVERLOAD_LIMIT) * self.duration_s + _TIMEOUT_ALLOWANCE_S

    @property
    def duration_s(self) -> float:
        """Seconds that queries are sent for at least; of server also what its fewest queries take."""
        if self.scenario != "server" or self.target_qps is None:
            return self.min_duration_s
        return max(self.min_duration_s, self.min_queries / self.target_qps)

    def check_batch(self, batch: int) -> None:
        """Refuse a model that takes so many samples a run that queries of this scenario cannot fill it.

        Raises:
            UsageError: a query's samples are no multiple of `batch`.
        """
        samples = self.samples_a_query
        if self.scenario != "offline" and samples % batch:
            raise UsageError(
                f"a run takes {batch} samples; {self.scenario} sends {samples} a query, which must be a multiple of "
                "that: measure at another batch, or take offline"
            )

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: object) -> ScenarioSettings:
        """Inverse of `to_json`; what is left out has its default.

        Raises:
            UsageError: a key or a value is not what it should be.
        """
        fields = {field.name: field.default for field in dataclasses.fields(cls) if field.name != "scenario"}
        values = record("the scenario", fields | mapping("the scenario", value), (*fields, "scenario"))
        samples = values["samples_per_query"]
        return cls(
            scenario=cast("Scenario", choice("scenario", values["scenario"], get_args(Scenario))),
            min_duration_s=number("min_duration_s", values["min_duration_s"]),
            target_latency_ms=_number_or_none("target_latency_ms", values["target_latency_ms"]),
            target_qps=_number_or_none("target_qps", values["target_qps"]),
            samples_per_query=None if samples is None else integer("samples_per_query", samples),
            seed=integer("seed", values["seed"]),
        )


def _number_or_none(name: str, value: object) -> float | None:
    return None if value is None else number(name, value)


def _within(name: str, value: float, low: float, high: float) -> None:
    """Lower bounds of 0.0 are excluded, since they are of rates and times."""
    if not (math.isfinite(value) and low <= value <= high) or (value == 0 and isinstance(low, float)):
        bounds = f"above 0 and at most {high:g}" if low == 0 and isinstance(low, float) else f"from {low:g} to {high:g}"
        raise UsageError(f"{name} is {value:g}; it must be {bounds}")
