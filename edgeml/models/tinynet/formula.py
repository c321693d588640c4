"""The tiny formula: which resolution and depth a network of a given cost should have, learned from published ones.

Han et al. (NeurIPS 2020) sample networks around EfficientNet-B0, keep those on the front of FLOPs and accuracy, and
regress resolution and depth on the FLOPs ratio by Gaussian processes; width follows from the cost. Their samples and
kernel are not published. Ours: the regression is anchored on B0 and the five published networks, and its kernel, its
length and the straight line in log(ratio) it deviates from were chosen for a smooth course between and below them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from edgeml.core.errors import needs_extra

if TYPE_CHECKING:
    import numpy.typing as npt
    from sklearn.gaussian_process import GaussianProcessRegressor

# FLOPs ratio to EfficientNet-B0 by edgeml's counter, resolution and depth as multiples of B0's.
_FRONT = np.array(
    [
        (1.0, 1.0, 1.0),
        (0.873, 0.86, 1.2),
        (0.520, 0.84, 1.1),
        (0.258, 0.825, 0.85),
        (0.134, 0.68, 0.695),
        (0.063, 0.475, 0.60),
    ]
)
_RBF_LENGTH = 0.15
_NOISE = 0.01  # relative to the variance of what the line leaves over

SMALLEST_PUBLISHED_RATIO = 0.063
RATIOS = (0.03, 1.0)


@dataclass(frozen=True)
class Prediction:
    """Resolution and depth for a FLOPs ratio, as multiples of EfficientNet-B0's.

    Attributes:
        resolution: multiple of 224 pixels.
        depth: multiple of the blocks of each stage.
        resolution_std: standard deviation of the regression's posterior.
        depth_std: the same for depth.
    """

    resolution: float
    depth: float
    resolution_std: float
    depth_std: float


def predict(ratio: float) -> Prediction:
    """Resolution and depth for `ratio`, the multiply-accumulates divided by EfficientNet-B0's.

    Below the smallest published ratio, 0.063, the course is extrapolated.

    Raises:
        MissingError: scikit-learn is not installed.
    """
    (resolution, resolution_std), (depth, depth_std) = (regression.at(ratio) for regression in _fitted())
    return Prediction(resolution, depth, resolution_std, depth_std)


@dataclass(frozen=True)
class _Regression:
    """A straight line in log(ratio) and a Gaussian process in the ratio for what the line leaves over."""

    line: npt.NDArray[np.float64]
    process: GaussianProcessRegressor

    def at(self, ratio: float) -> tuple[float, float]:
        mean, std = self.process.predict(np.array([[ratio]]), return_std=True)
        return float(np.polyval(self.line, math.log(ratio)) + mean[0]), float(std[0])


@lru_cache
def _fitted() -> tuple[_Regression, _Regression]:
    with needs_extra("train"):
        from sklearn.gaussian_process import GaussianProcessRegressor
        from sklearn.gaussian_process.kernels import RBF

    def fit(values: npt.NDArray[np.float64]) -> _Regression:
        ratios = _FRONT[:, 0]
        line = np.polyfit(np.log(ratios), values, 1)
        # The length is not fitted: six points are too few, and the likelihood then has its maximum at a bound.
        process = GaussianProcessRegressor(RBF(_RBF_LENGTH), alpha=_NOISE, optimizer=None, normalize_y=True)
        return _Regression(line, process.fit(ratios[:, None], values - np.polyval(line, np.log(ratios))))

    return fit(_FRONT[:, 1]), fit(_FRONT[:, 2])
