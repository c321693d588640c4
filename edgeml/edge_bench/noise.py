"""Finds signs that a machine was not quiet while it measured: scatter, drift, two modes, outliers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edgeml.core.bench_result import Contender, Launch

_Samples = npt.NDArray[np.float64]

SCATTER_LIMIT = 0.10
LAUNCH_SPREAD_LIMIT = 0.10
DRIFT_LIMIT = 0.05
OUTLIER_LIMIT = 0.05
MODE_SHARE = 0.10
MODE_GAP = 0.05
MODE_SEPARATION = 5.0

_FEWEST_SAMPLES = 20


def noise_warnings(contender: Contender) -> tuple[str, ...]:
    """What makes this contender's latency hard to trust, a sentence each; empty for a quiet run or no launch."""
    if not contender.launches:
        return ()
    found = []
    if (value := scatter(contender.launches)) > SCATTER_LIMIT:
        found.append(f"noisy: samples of one launch scatter by {value:.0%} (robust coefficient of variation)")
    if (value := launch_spread(contender.launches)) > LAUNCH_SPREAD_LIMIT:
        found.append(f"noisy: medians of launches differ by {value:.0%} (coefficient of variation)")
    if abs(value := drift(contender.launches)) > DRIFT_LIMIT:
        found.append(f"drift: latency {'rose' if value > 0 else 'fell'} by {abs(value):.0%} within launches")
    if (value := outlier_share(contender.launches)) > OUTLIER_LIMIT:
        found.append(f"noisy: {value:.0%} of the samples are outliers far above the rest")
    if (modes := two_modes(contender.launches)) is not None:
        found.append(f"bimodal: latency gathers at {modes[0]:.3g} ms and at {modes[1]:.3g} ms")
    unstable = sum(not launch.stable for launch in contender.launches)
    if unstable * 2 > len(contender.launches):
        found.append(f"latency had not settled when warm-up ended in {unstable} of {len(contender.launches)} launches")
    return tuple(found)


def scatter(launches: Sequence[Launch]) -> float:
    """Median over launches of the robust coefficient of variation: 1.4826 median absolute deviations / median."""
    values = []
    for launch in launches:
        samples = np.asarray(launch.latency_ms)
        middle = np.median(samples)
        values.append(1.4826 * np.median(np.abs(samples - middle)) / middle)
    return float(np.median(values))


def launch_spread(launches: Sequence[Launch]) -> float:
    """Coefficient of variation of the launches' medians."""
    if len(launches) < 2:
        return 0.0
    medians = np.array([np.median(launch.latency_ms) for launch in launches])
    return float(medians.std(ddof=1) / medians.mean())


def drift(launches: Sequence[Launch]) -> float:
    """Relative change of latency from the first to the last block of a launch, where nearly all launches agree on it.

    0 where the launches disagree (so that a single disturbance is no drift) or have fewer than three blocks.
    """
    changes = []
    for launch in launches:
        blocks, samples = np.asarray(launch.block), np.asarray(launch.latency_ms)
        if len(np.unique(blocks)) < 3:
            return 0.0
        first, last = samples[blocks == blocks.min()], samples[blocks == blocks.max()]
        changes.append(float(np.median(last) / np.median(first) - 1))
    agreeing = max(sum(change > 0 for change in changes), sum(change < 0 for change in changes))
    if len(changes) < 3 or agreeing < len(changes) - len(changes) // 5:
        return 0.0
    return float(np.median(changes))


def outlier_share(launches: Sequence[Launch]) -> float:
    """Share of samples above Tukey's outer fence of their launch: third quartile plus three interquartile ranges."""
    outliers = total = 0
    for launch in launches:
        samples = np.asarray(launch.latency_ms)
        lower, upper = np.quantile(samples, [0.25, 0.75])
        # Timers tick: with nearly no scatter a single tick would be an outlier.
        fence = upper + 3 * max(upper - lower, 0.01 * upper)
        outliers += int((samples > fence).sum())
        total += len(samples)
    return outliers / total if total >= _FEWEST_SAMPLES else 0.0


def two_modes(launches: Sequence[Launch]) -> tuple[float, float] | None:
    """The two latencies in milliseconds around which the samples gather, None where they gather around one.

    The logarithms are split where the variance within the halves is least (Otsu, IEEE SMC 1979); the halves are modes
    where Ashman's D (Astronomical Journal, 1994) is above 5 (a split uniform has 3.5), the smaller holds a tenth of the
    samples and they lie 5% apart.
    """
    samples = np.concatenate([np.asarray(launch.latency_ms) for launch in launches])
    if len(samples) < _FEWEST_SAMPLES:
        return None
    low, high = np.quantile(samples, [0.01, 0.95])
    logs: _Samples = np.sort(np.log(samples[(samples >= low) & (samples <= high)]))
    counts = np.arange(1, len(logs))
    sums = np.cumsum(logs)
    means_low, means_high = sums[:-1] / counts, (sums[-1] - sums[:-1]) / (len(logs) - counts)
    between = counts * (len(logs) - counts) * (means_high - means_low) ** 2
    split = int(np.argmax(between)) + 1
    below, above = logs[:split], logs[split:]
    gap = float(above.mean() - below.mean())
    deviation = np.sqrt((below.var() + above.var()) / 2)
    separated = gap > MODE_SEPARATION * deviation and gap > np.log1p(MODE_GAP)
    if not separated or min(len(below), len(above)) < MODE_SHARE * len(logs):
        return None
    return float(np.exp(below.mean())), float(np.exp(above.mean()))
