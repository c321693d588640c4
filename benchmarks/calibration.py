"""Whether edgeml's intervals hold what they say, by simulation: python benchmarks/calibration.py

- Coverage: how often the 95% interval of the median, of the ratio of two files measured together or apart, and of the
  percentiles holds the truth, at the default number of launches. Samples are normal, lognormal, Student t3, bimodal and
  AR(1) with 0.9; launches differ by a level of standard deviation 0, 1% and 3%. Median and ratio must lie in 93 to 97%
  with 100 samples a launch and more.
- Rivals: Woodruff's intervals and the block bootstrap of launches and samples (block_bootstrap.py) on the same samples.
- False alarms: how often equal files are called different; at most 5% may be.
- Power: how often a slowdown of 3% is called "slower" on a quiet board; 90% must be.
- The gate of `edgeml compare --regression 5`: how often it fails at true slowdowns from 0 to 15%.

The noise of false alarms, power and gate is measured: all but the launches' level is fitted to the runs of a_a_test.py
(results/a_a_test.json, "noise"). The level that differs by launch is, on "board", that behind the intervals of
results/int8_placement.json (idle machine, one thread, default settings), each of its comparisons in turn; on "a_a_test"
that fitted there. Shares have Wilson's 95% intervals. Takes about ten minutes; --quick one, and records nothing.
"""

import argparse
import json
import math
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from functools import lru_cache, partial
from itertools import repeat
from typing import Any

import numpy as np
from block_bootstrap import Logs, interval, resample
from launch_noise import LaunchNoise, as_launches, autoregressive
from record import RESULTS, record
from scipy import stats

from edgeml.core.bench_result import Launch
from edgeml.edge_bench.accuracy import wilson
from edgeml.edge_bench.compare import GATE_ERROR
from edgeml.edge_bench.conditions.environment import host_info
from edgeml.edge_bench.measure import BenchSettings
from edgeml.edge_bench.statistics import (
    PERCENTILES,
    Estimate,
    Ratio,
    compare,
    median,
    percentile,
    verdicts,
)
from edgeml.edge_bench.statistics_apart import compare_apart, exceeds_probability
from edgeml.runtime.threads import available_threads

LAUNCHES = BenchSettings().launches
SAMPLES = (20, 100, 400)
LEVELS = (0.0, 0.01, 0.03)
SAMPLES_OF_A_BOARD = 100  # what the default run leaves a launch of a model that takes 5.6 ms
RESAMPLES = 300
ALLOWED = 1.05
Generator = np.random.Generator
Cell = tuple[str, int, float]  # a shape, samples a launch, standard deviation of the level of a launch

# Logarithms of latencies about a median near 1 ms.
SHAPES: dict[str, Callable[[Generator, tuple[int, ...]], Logs]] = {
    "normal": lambda g, shape: np.log(1 + 0.03 * g.standard_normal(shape)),
    "lognormal": lambda g, shape: np.log(1 + 0.05 * np.exp(g.standard_normal(shape))),
    "student t3": lambda g, shape: 0.02 * g.standard_t(3, shape),
    "bimodal": lambda g, shape: np.log(np.where(g.random(shape) < 0.3, 1.3, 1.0) + 0.02 * g.standard_normal(shape)),
    "AR(1) 0.9": lambda g, shape: 0.03 * autoregressive(g, shape, 0.9),
}


class Tally:
    """Counts how often each of several things happened."""

    def __init__(self) -> None:
        self._counts: dict[str, tuple[int, int]] = {}

    def add(self, name: str, happened: bool) -> None:
        """Count one trial."""
        times, trials = self._counts.get(name, (0, 0))
        self._counts[name] = times + happened, trials + 1

    def shares(self) -> dict[str, dict[str, Any]]:
        """Share of trials, with Wilson's 95% interval."""
        return {
            name: {"share": times / trials, "ci95": list(wilson(times, trials)), "trials": trials}
            for name, (times, trials) in self._counts.items()
        }


def holds(ci95: tuple[float, float], truth: float) -> bool:
    """Whether the interval holds it."""
    return ci95[0] <= truth <= ci95[1]


@lru_cache
def quantile_of(shape: str, share: float) -> float:
    """The true latency in milliseconds that this share of a typical launch stays below."""
    generator = np.random.default_rng(1)
    return math.exp(np.mean([np.quantile(SHAPES[shape](generator, (2000, 500)), share) for _ in range(4)]))


def cells() -> list[Cell]:
    """Every combination."""
    return [(shape, samples, level) for shape in SHAPES for samples in SAMPLES for level in LEVELS]


def draw(generator: Generator, shape: str, samples: int, level: float) -> Logs:
    """Logs of one contender: (launch, sample)."""
    logs: Logs = SHAPES[shape](generator, (LAUNCHES, samples)) + level * generator.standard_normal((LAUNCHES, 1))
    return logs


def in_parallel(work: Callable[..., dict[str, Any]], trials: int, chosen: list[Cell]) -> list[dict[str, Any]]:
    """What `work` finds in each cell."""
    with ProcessPoolExecutor(available_threads()) as pool:
        found = []
        for (shape, samples, level), tallied in zip(
            chosen, pool.map(work, chosen, repeat(trials), range(len(chosen))), strict=True
        ):
            shares = {name: round(each["share"], 3) for name, each in tallied.items()}
            print(shape, samples, level, shares, flush=True)
            found.append({"shape": shape, "samples": samples, "launch_level": level, "covered": tallied})
    return found


def coverage(cell: Cell, trials: int, seed: int) -> dict[str, Any]:
    """Of edgeml's own intervals."""
    shape, samples, level = cell
    generator, tally = np.random.default_rng(seed), Tally()
    truths = {"median": quantile_of(shape, 0.5)} | {name: quantile_of(shape, q) for name, q in PERCENTILES.items()}
    for _ in range(trials):
        a = as_launches(draw(generator, shape, samples, level))
        b = as_launches(draw(generator, shape, samples, level) + math.log(1.5))
        estimates: dict[str, Estimate | None] = {"median": median(a)}
        estimates |= {name: percentile(a, share) for name, share in PERCENTILES.items()}
        for name, estimate in estimates.items():
            if estimate is not None:
                tally.add(name, holds(estimate.ci95, truths[name]))
        # A level that both contenders of a launch share cancels exactly, so it is not drawn.
        tally.add("ratio, paired", holds(compare(a, b).ci95, 1.5))
        tally.add("ratio, apart", holds(compare_apart([a], [b]).ci95, 1.5))
    return tally.shares()


def rivals(cell: Cell, trials: int, seed: int) -> dict[str, Any]:
    """Coverage of the methods not chosen: of p90 with 100 samples a launch, of p99 with more."""
    shape, samples, level = cell
    generator, tally = np.random.default_rng((1, seed)), Tally()
    name, share = ("p90", 0.90) if samples == 100 else ("p99", 0.99)
    middle, tail = (math.log(quantile_of(shape, each)) for each in (0.5, share))
    many = np.concatenate([draw(generator, shape, samples, level).ravel() for _ in range(2000)])
    pooled = float(np.quantile(many, share))  # of all samples of all launches: what Woodruff's interval is of
    for _ in range(trials):
        a, b = (draw(generator, shape, samples, level) for _ in range(2))
        tally.add(f"{name}, Woodruff", holds(woodruff(a, share), pooled))
        tally.add(f"{name}, bootstrap", holds(interval(resample(generator, a, _typical(share), RESAMPLES)), tail))
        of_all = interval(resample(generator, a, _pooled(share), RESAMPLES))
        tally.add(f"{name} of all samples, bootstrap", holds(of_all, pooled))
        resampled = resample(generator, a, _typical(0.5), RESAMPLES)
        tally.add("median, bootstrap", holds(interval(resampled), middle))
        error = float(resampled.std(ddof=1)) * math.sqrt(LAUNCHES / (LAUNCHES - 1))
        half_width = error * float(stats.t.ppf(0.975, LAUNCHES - 1))
        centre = float(np.median(a, axis=-1).mean())
        tally.add("median, bootstrap's error with t", holds((centre - half_width, centre + half_width), middle))
        both = resampled - resample(generator, b, _typical(0.5), RESAMPLES)
        tally.add("ratio, bootstrap", holds(interval(both), 0.0))
    return tally.shares()


def _typical(share: float) -> Callable[[Logs], Logs]:
    return lambda logs: np.quantile(logs, share, axis=-1, method="median_unbiased").mean(axis=-1)


def _pooled(share: float) -> Callable[[Logs], Logs]:
    return lambda logs: np.quantile(logs.reshape(len(logs), -1), share, axis=-1)


def woodruff(logs: Logs, share: float) -> tuple[float, float]:
    """Woodruff's interval (JASA 1952) of a percentile of all samples, with launches as clusters."""
    value = np.quantile(logs, share)
    binomial = math.sqrt(share * (1 - share) / logs.size) * float(stats.norm.ppf(0.975))
    below = (logs <= value).mean(axis=-1)
    clustered = float(below.std(ddof=1)) / math.sqrt(len(logs)) * float(stats.t.ppf(0.975, len(logs) - 1))
    error = max(binomial, clustered)
    low, high = np.quantile(logs, [max(0.0, share - error), min(1.0, share + error)])
    return float(low), float(high)


def measured_noise() -> dict[str, list[LaunchNoise]]:
    """The noise to draw runs from, one after the other, by machine."""
    figures = json.loads((RESULTS / "a_a_test.json").read_text(encoding="utf-8"))["figures"]
    if "noise" not in figures:
        sys.exit("results/a_a_test.json holds no fitted noise; run benchmarks/a_a_test.py first")
    fitted = LaunchNoise(**figures["noise"])
    placed = json.loads((RESULTS / "int8_placement.json").read_text(encoding="utf-8"))["figures"]["comparisons"]
    scale = math.sqrt(LAUNCHES) / float(stats.t.ppf(0.975, LAUNCHES - 1)) / math.sqrt(2)
    levels = [math.log(each["ci95"][1] / each["ci95"][0]) / 2 * scale for each in placed]
    return {"board": [replace(fitted, launch=level) for level in levels], "a_a_test": [fitted]}


def claims(noises: list[LaunchNoise], trials: int) -> dict[str, Any]:
    """False alarms and power of verdicts."""
    generator, tally = np.random.default_rng(7), Tally()
    for trial in range(trials):
        runs = partial(simulate, noises[trial % len(noises)], generator)
        alone = partial(simulate, replace(noises[trial % len(noises)], run=0.0), generator)
        a, b = runs(1.0, 1.0)
        tally.add("A/A, one run", claimed([compare(a, b)]))
        if trial < 200:
            tally.add("A/A, one run, the first 200", claimed([compare(a, b)]))
        first, *others = runs(1.0, 1.0, 1.0, 1.0)
        tally.add("A/A, three against one", claimed([compare(each, first) for each in others]))
        tally.add("A/A, two runs", claimed([compare_apart(alone(1.0), alone(1.0))]))
        tally.add("A/A, two runs that differ", claimed([compare_apart([a], runs(1.0))]))
        repeated = [runs(1.0)[0] for _ in range(6)]
        tally.add("A/A, three runs that differ against one", claimed([compare_apart(repeated[:3], repeated[3:4])]))
        tally.add("A/A, three runs that differ against three", claimed([compare_apart(repeated[:3], repeated[3:])]))
        for launches in (LAUNCHES, 2 * LAUNCHES):
            a, b = runs(1.03, 1.0, launches=launches)
            tally.add(f"3% slower, one run, {launches} launches", verdicts([compare(a, b)]) == ("slower",))
            ratio = compare_apart(alone(1.03, launches=launches), alone(1.0, launches=launches))
            tally.add(f"3% slower, two runs, {launches} launches", verdicts([ratio]) == ("slower",))
    return tally.shares()


def simulate(
    noise: LaunchNoise, generator: Generator, *latencies: float, launches: int = LAUNCHES
) -> tuple[tuple[Launch, ...], ...]:
    """One run of contenders with these true latencies in milliseconds."""
    return noise.simulate(generator, contenders=latencies, launches=launches, samples=SAMPLES_OF_A_BOARD)


def claimed(ratios: list[Ratio]) -> bool:
    """Whether any of one run's ratios is called a difference."""
    return any(verdict != "no difference shown" for verdict in verdicts(ratios))


def gate(noises: list[LaunchNoise], trials: int) -> dict[str, Any]:
    """How often the gate of 5% fails.

    Defined in two ways: the whole interval beyond the allowance, or the ratio beyond it and 1 not in its interval.
    """
    generator, tally = np.random.default_rng(9), Tally()
    for trial in range(trials):
        noise = noises[trial % len(noises)]
        for slowdown in (1.0, 1.03, ALLOWED, 1.08, 1.10, 1.15):
            a, b = (simulate(noise, generator, latency) for latency in (1.0, slowdown))
            ratio = compare_apart(b, a)  # below 1: b is slower
            said = f"{slowdown - 1:.0%} slower"
            tally.add(f"{said}, whole interval beyond", exceeds_probability(a, b, ALLOWED) <= GATE_ERROR)
            tally.add(f"{said}, ratio beyond, 1 excluded", 1 / ratio.value > ALLOWED and ratio.ci95[1] < 1)
    return tally.shares()


def of_machines(trials: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Claims by machine; the gate by machine, where runs differ and where they do not."""
    machines = measured_noise()
    gates = machines | {
        f"{machine}, runs alike": [replace(noise, run=0.0) for noise in noises] for machine, noises in machines.items()
    }
    with ProcessPoolExecutor(available_threads()) as pool:
        claim = {machine: pool.submit(claims, noises, trials) for machine, noises in machines.items()}
        passed = {machine: pool.submit(gate, noises, trials // 2) for machine, noises in gates.items()}
        found = tuple({machine: each.result() for machine, each in group.items()} for group in (claim, passed))
    for group in found:
        for machine, shares in group.items():
            print(machine, {name: round(each["share"], 4) for name, each in shares.items()}, flush=True)
    return found[0], found[1]


def range_of(found: list[dict[str, Any]]) -> dict[str, list[float]]:
    """Lowest and highest share over the cells, by method."""
    names = dict.fromkeys(name for cell in found for name in cell["covered"])
    shares = {name: [cell["covered"][name]["share"] for cell in found if name in cell["covered"]] for name in names}
    return {name: [min(each), max(each)] for name, each in shares.items()}


def main() -> None:
    """Simulate, record, and fail where a requirement is not met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few trials; records nothing")
    arguments = parser.parse_args()
    few = 20 if arguments.quick else 1
    host = host_info()
    own = in_parallel(coverage, 2000 // few, cells())
    others = in_parallel(rivals, 300 // few, [cell for cell in cells() if cell[1] > SAMPLES[0]])
    claim, gates = of_machines(5000 // few)
    ranges = {"all": range_of(own), "rivals": range_of(others)}
    ranges["all but AR(1) 0.9"] = range_of([cell for cell in own if cell["shape"] != "AR(1) 0.9"])
    figures = {
        "launches": LAUNCHES,
        "coverage_ranges": ranges,
        "noise": {machine: [asdict(noise) for noise in noises] for machine, noises in measured_noise().items()},
        "claims": claim,
        "gate_5_percent": gates,
        "coverage": own,
        "coverage_of_rivals": others,
    }
    if arguments.quick:
        print(json.dumps(ranges, indent=2))
        return
    record(host, figures)
    default = range_of([cell for cell in own if cell["samples"] > SAMPLES[0]])
    covered = [default["median"], default["ratio, paired"]]
    alarms = [each[name]["share"] for each in claim.values() for name in ("A/A, one run", "A/A, three against one")]
    power = claim["board"][f"3% slower, one run, {LAUNCHES} launches"]["share"]
    met = all(low >= 0.93 and high <= 0.97 for low, high in covered) and max(alarms) <= 0.05 and power >= 0.9
    sys.exit(not met)


if __name__ == "__main__":
    main()
