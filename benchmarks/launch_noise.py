"""How latency scatters on a machine: fitted to measured launches, and simulated with a truth that is known."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import signal, stats

from edgeml.core.bench_result import Contender, Launch
from edgeml.edge_bench.noise import outlier_share, scatter

Logs = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class LaunchNoise:
    """The logarithm of a latency: level of the run, of the moment, of the launch, a wave in it, and a tail.

    Attributes:
        run: standard deviation of a level that all launches of one run share; it shows only between runs.
        common: of a level that the launches of all contenders at one time share; it cancels in a run's own ratios.
        launch: of the level of each single launch.
        wave: of the samples of one launch about its level.
        correlation: of one sample with the next; the wave is AR(1).
        tail_share: share of samples that something else delayed.
        tail: their mean delay, exponential.
    """

    run: float
    common: float
    launch: float
    wave: float
    correlation: float
    tail_share: float
    tail: float

    def simulate(
        self, generator: np.random.Generator, *, contenders: Sequence[float], launches: int, samples: int
    ) -> tuple[tuple[Launch, ...], ...]:
        """One run of contenders with these true median latencies in milliseconds."""
        level = self.run * generator.standard_normal() + self.common * generator.standard_normal((launches, 1))
        found = []
        for latency_ms in contenders:
            own = level + self.launch * generator.standard_normal((launches, 1))
            wave = self.wave * autoregressive(generator, (launches, samples), self.correlation)
            delayed = generator.random((launches, samples)) < self.tail_share
            tail = np.where(delayed, generator.exponential(max(self.tail, 1e-9), (launches, samples)), 0.0)
            found.append(as_launches(math.log(latency_ms) + own + wave + tail))
        return tuple(found)


def autoregressive(generator: np.random.Generator, shape: tuple[int, ...], correlation: float) -> Logs:
    """Standard normal values along the last axis, each correlated with the one before: AR(1)."""
    steps = generator.standard_normal(shape)
    steps[..., 1:] *= math.sqrt(1 - correlation**2)
    values: Logs = signal.lfilter([1.0], [1.0, -correlation], steps, axis=-1)
    return values


def as_launches(logs: Logs) -> tuple[Launch, ...]:
    """Launches with these logarithms of latencies in milliseconds: (launch, sample)."""
    return tuple(
        Launch(
            latency_ms=tuple(row.tolist()),
            block=(0,) * len(row),
            warmup=1,
            stable=True,
            load_ms=1.0,
            peak_memory_bytes=1,
        )
        for row in np.exp(logs)
    )


def fit(runs: Sequence[tuple[Contender, Contender]]) -> LaunchNoise:
    """The noise of runs in which one file was measured against itself.

    The level of a launch is its log median, so `launch` holds the error of the median too and errs on the high side.

    Args:
        runs: the two contenders of each run; at least two runs.
    """
    logs = np.log([[[np.median(each.latency_ms) for each in pair.launches] for pair in run] for run in runs])
    launch = math.sqrt(float(np.var(logs[:, 0] - logs[:, 1], axis=-1, ddof=1).mean()) / 2)
    together = logs.mean(axis=1)  # (run, launch)
    common = float(np.var(together, axis=-1, ddof=1).mean()) - launch**2 / 2
    between = float(np.var(together.mean(axis=-1), ddof=1))
    explained = (max(common, 0.0) + launch**2 / 2) / logs.shape[-1]
    contenders = [contender for run in runs for contender in run]
    launches = [each for contender in contenders for each in contender.launches]
    return LaunchNoise(
        run=math.sqrt(max(between - explained, 0.0)),
        common=math.sqrt(max(common, 0.0)),
        launch=launch,
        wave=float(np.median([scatter((each,)) for each in launches])),
        correlation=float(np.median([_correlation(each) for each in launches])),
        tail_share=float(np.median([outlier_share(contender.launches) for contender in contenders])),
        tail=float(np.mean([_tail(each) for each in launches])),
    )


def _correlation(launch: Launch) -> float:
    """Rank correlation of one sample with the next, which single delayed samples leave alone; not below 0."""
    return max(0.0, float(stats.spearmanr(launch.latency_ms[:-1], launch.latency_ms[1:]).statistic))


def _tail(launch: Launch) -> float:
    """Mean logarithm by which the slowest twentieth of the samples exceeds the median."""
    logs = np.sort(np.log(launch.latency_ms))
    return float(logs[-max(1, len(logs) // 20) :].mean() - np.median(logs))
