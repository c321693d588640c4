"""MLCommons LoadGen around a model, against edgeml's own clock: python benchmarks/scenarios.py --model tinynet-e.onnx

Three questions, answered in one process around one session, in turns so that all meet the same machine:

1. Does LoadGen find the latencies that edgeml finds? In each turn edgeml's loop takes samples for as long as LoadGen's
   single-stream lasts ("loop"), and our own clock runs around the very runs that LoadGen asks for ("inside"). Ratios of
   medians and of 90th percentiles are geometric means over turns; the limit is 5%. On a machine that others use, the
   90th percentiles tell of them, not of the clocks.
2. What do LoadGen and Python add to a run? LoadGen's mean latency less our own clock's, in microseconds, for the model
   and for one that does nothing.
3. Are single-stream, multi-stream, offline and server valid at `--seconds` each? Server is asked for a share of the
   model's rate, with a bound of `--bound` times its median latency.

The model is by default TinyNet-E in fp32 as `edgeml export tinynet-e` writes it; random weights take the same time.
"""

import argparse
import dataclasses
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from record import record
from scipy import stats

from edgeml.core.bench_scenario import Scenario, ScenarioResult
from edgeml.core.device import LOCAL
from edgeml.core.session import SessionOptions
from edgeml.edge_bench.conditions.environment import host_info
from edgeml.edge_bench.feeds import random_feeds
from edgeml.edge_bench.scenarios.loadgen import run_scenario
from edgeml.edge_bench.scenarios.settings import ScenarioSettings
from edgeml.edge_bench.worker_loop import timed
from edgeml.runtime.onnx_file import open_artifact
from edgeml.runtime.registry import get_runtime

LIMIT = 0.05
WITHOUT_BOUND: tuple[Scenario, ...] = ("single-stream", "multi-stream", "offline")
NOTHING_S = 2.0


def main() -> None:
    """Measure, record, and fail beyond the limit or where a run is not valid."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="ONNX file of one sample a run")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--turn-seconds", type=float, default=2.0, help="of each side in each turn")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each scenario")
    parser.add_argument("--load", type=float, default=0.5, help="server's rate as a share of the model's")
    parser.add_argument("--bound", type=float, default=10.0, help="server's bound in median latencies")
    arguments = parser.parse_args()
    host = host_info()
    session = get_runtime("onnxruntime").open(
        open_artifact(arguments.model), LOCAL, SessionOptions(threads=arguments.threads)
    )
    feeds = random_feeds(session.inputs, 1, 0)

    def run(index: int) -> object:
        return session.run(feeds[index % len(feeds)])

    against = in_turns(run, arguments.turns, arguments.turn_seconds)
    median_ms = against["median_ms"]
    rate = arguments.load * 1e3 / median_ms
    results = [
        run_scenario(run, 1, settings)
        for settings in (
            *(ScenarioSettings(scenario=each, min_duration_s=arguments.seconds) for each in WITHOUT_BOUND),
            ScenarioSettings(
                scenario="server",
                min_duration_s=arguments.seconds,
                target_qps=rate,
                target_latency_ms=arguments.bound * median_ms,
            ),
        )
    ]
    nothing = run_scenario(lambda _: None, 1, ScenarioSettings(scenario="single-stream", min_duration_s=NOTHING_S))
    session.close()
    figures = {
        "limit": LIMIT,
        "model": arguments.model.name,
        "threads": arguments.threads,
        "loadgen_over_edgeml": against,
        "overhead_us": {each.scenario: each.settings.get("overhead_us") for each in results}
        | {"of a model that does nothing": nothing.settings["overhead_us"]},
        "scenarios": [dataclasses.asdict(each) for each in results],
    }
    record(host, figures)
    sys.exit(not (against["within_limit"] and all(each.valid for each in results)))


def in_turns(run: Callable[[int], object], turns: int, seconds: float) -> dict[str, Any]:
    """LoadGen's percentiles over edgeml's, with 95% intervals over turns."""
    ratios: dict[str, list[float]] = {
        "p50_over_loop": [],
        "p90_over_loop": [],
        "p50_over_inside": [],
        "p90_over_inside": [],
    }
    medians_ms, loadgen_p90_ms = [], []
    for turn in range(turns):
        inside: list[int] = []
        if turn % 2:  # neither side is always the first
            own, found = by_edgeml(run, seconds), by_loadgen(run, seconds, inside)
        else:
            found, own = by_loadgen(run, seconds, inside), by_edgeml(run, seconds)
        for name, samples in (("loop", own), ("inside", inside[-found.queries :])):
            for percentile, share in (("p50", 0.5), ("p90", 0.9)):
                ratio = 1e6 * found.latency_ms[percentile] / float(np.quantile(samples, share))
                ratios[f"{percentile}_over_{name}"].append(ratio)
        medians_ms.append(float(np.median(own)) / 1e6)
        loadgen_p90_ms.append(found.latency_ms["p90"])
        last = ", ".join(f"{name} {each[-1]:.4f}" for name, each in ratios.items())
        print(f"turn {turn + 1}: {last}", flush=True)
    means = {name: geometric_mean(each) for name, each in ratios.items()}
    return {
        "turns": turns,
        "loadgen_p90_ms": loadgen_p90_ms,
        "median_ms": float(np.median(medians_ms)),
        **{name: mean for name, (mean, _) in means.items()},
        **{f"{name}_ci95": interval for name, (_, interval) in means.items()},
        "within_limit": all(abs(mean - 1) <= LIMIT for mean, _ in means.values()),
    }


def by_edgeml(run: Callable[[int], object], seconds: float) -> list[int]:
    """Latencies in nanoseconds by edgeml's loop."""
    own: list[int] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        own += timed(run, range(20))
    return own


def by_loadgen(run: Callable[[int], object], seconds: float, inside: list[int]) -> ScenarioResult:
    """LoadGen's single-stream; the latencies by our own clock around the same runs go to `inside`."""

    def clocked(index: int) -> None:
        start = time.perf_counter_ns()
        run(index)
        inside.append(time.perf_counter_ns() - start)

    return run_scenario(clocked, 1, ScenarioSettings(scenario="single-stream", min_duration_s=seconds))


def geometric_mean(ratios: list[float]) -> tuple[float, list[float]]:
    """Geometric mean and Student's interval on logarithms."""
    logs = np.log(ratios)
    mean, error = float(np.mean(logs)), float(stats.sem(logs))
    half = error * float(stats.t.ppf(0.975, len(logs) - 1))
    return float(np.exp(mean)), [float(np.exp(mean - half)), float(np.exp(mean + half))]


if __name__ == "__main__":
    main()
