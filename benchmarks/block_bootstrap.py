"""Intervals by resampling launches and blocks of their samples: what calibration.py holds edgeml's intervals against.

Launches are drawn with replacement, then blocks of samples within each, circularly (Politis and Romano, "A circular
block-resampling procedure for stationary data", 1992). Blocks are as long as Politis and White find it best ("Automatic
block-length selection for the dependent bootstrap", Econometric Reviews 23, 2004; corrected by Patton in 28, 2009).
"""

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Logs = npt.NDArray[np.float64]
Statistic = Callable[[Logs], Logs]
"""Takes (resample, launch, sample), gives (resample,)."""


def block_length(series: Logs) -> int:
    """The best length of circular blocks for the mean of this series."""
    count = len(series)
    centred = series - series.mean()
    spectrum = np.fft.rfft(centred, 2 * count)
    covariance = np.fft.irfft(spectrum * spectrum.conj())[:count] / count
    if covariance[0] <= 0:
        return 1
    window = max(5, math.ceil(math.sqrt(math.log10(count))))
    insignificant = np.abs(covariance / covariance[0]) < 2 * math.sqrt(math.log10(count) / count)
    last = min(math.ceil(math.sqrt(count)) + window, count - 1)
    quiet = [lag for lag in range(max(1, last - window)) if insignificant[lag + 1 : lag + 1 + window].all()]
    bandwidth = min(2 * max(1, quiet[0] if quiet else last), count - 1)
    lags = np.arange(-bandwidth, bandwidth + 1)
    weighted = np.clip(2 * (1 - np.abs(lags) / bandwidth), 0, 1) * covariance[np.abs(lags)]
    variance = 4 / 3 * weighted.sum() ** 2
    if variance <= 0:
        return 1
    length = (2 * (np.abs(lags) * weighted).sum() ** 2 / variance * count) ** (1 / 3)
    return int(np.clip(round(length), 1, math.ceil(min(3 * math.sqrt(count), count / 3))))


def resample(generator: np.random.Generator, logs: Logs, statistic: Statistic, resamples: int) -> Logs:
    """The statistic of each resample.

    Args:
        generator: of random numbers.
        logs: (launch, sample); all launches are as long.
        statistic: what to compute.
        resamples: how many.
    """
    launches, samples = logs.shape
    length = int(np.median([block_length(launch) for launch in logs]))
    starts = generator.integers(0, samples, (resamples, launches, math.ceil(samples / length)))
    indices = (starts[..., None] + np.arange(length)) % samples
    indices = indices.reshape(resamples, launches, -1)[..., :samples]
    chosen = generator.integers(0, launches, (resamples, launches))
    return statistic(logs[chosen[..., None], indices])


def interval(values: Logs) -> tuple[float, float]:
    """Efron's 95% percentile interval."""
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)
