"""Suggests how large a difference a tile may have before it counts as changed, from the sensor's noise."""

from __future__ import annotations

import math

from edgeml.core.errors import UsageError
from edgeml.core.preprocessing import Preprocessing

# Gate thresholds are whole numbers of sixteenths of a code.
SIXTEENTHS = 16


def suggest_threshold(
    sigma: float, *, tile: int = 8, channels: int = 3, false_activations: float = 0.01, rms: bool = False
) -> int:
    """The threshold of a TileGate, in sixteenths of a code, at which noise alone rarely activates a still tile.

    A still tile's n = tile * tile * channels differences are independent and Gaussian with deviation s = sigma sqrt 2
    (the frame and the codes held before both have noise). The rate p of false activations is met by

        max |d|:  t = s * PhiInverse((1 + (1 - p)^(1/n)) / 2)      from P(max |d| <= t) = (2 Phi(t / s) - 1)^n
        rms:      t = s * sqrt(ChiSquareInverse_n(1 - p) / n)      since sum d^2 / s^2 is chi-square of n degrees

    Codes are whole, so max |d| exceeds t where it is k + 1 or more, k = floor(t), that is, k + 1/2 before rounding:
    the smallest k with k + 1/2 >= t is taken. Noise that neighbouring pixels share (after resizing, or from a video
    codec) makes max |d| activate less than p says, and rms more.

    Args:
        sigma: standard deviation of one frame's noise, in the codes that the gate compares (see `sigma_in_codes`).
        tile: side of a tile in pixels.
        channels: of the frame.
        false_activations: share of the still tiles that may be active in a frame.
        rms: for a gate that compares root mean squares, else the largest differences.

    Raises:
        UsageError: an argument is out of its range.
    """
    from scipy.stats import chi2, norm

    if not (math.isfinite(sigma) and sigma >= 0) or tile < 1 or channels < 1 or not 0 < false_activations < 1:
        raise UsageError(
            f"no gate threshold for noise {sigma}, tiles of {tile}, {channels} channels and a rate of "
            f"{false_activations}; noise is 0 or more, tile and channels 1 or more, the rate between 0 and 1"
        )
    count = tile * tile * channels
    spread = sigma * math.sqrt(2)
    if rms:
        return math.ceil(SIXTEENTHS * spread * math.sqrt(float(chi2.isf(false_activations, count)) / count))
    # 1 - (1 - p)^(1/n), without the loss of digits near 1.
    one_value = -math.expm1(math.log1p(-false_activations) / count)
    return SIXTEENTHS * max(0, math.ceil(spread * float(norm.isf(one_value / 2)) - 0.5))


def sigma_in_codes(sigma: float, preprocessing: Preprocessing, frame_scale: float) -> float:
    """Noise of pixels as noise of the codes that a network's first layer reads.

    Where channels are normalized by different deviations, that of the noisiest is given. The codes' own rounding
    (deviation sqrt(1/12)) is added.

    Args:
        sigma: standard deviation in pixels of 0 to 255, at the size the network reads.
        preprocessing: how pixels become inputs.
        frame_scale: input units a code.

    Raises:
        UsageError: the scale is not above 0.
    """
    if not frame_scale > 0:
        raise UsageError(f"frame scale {frame_scale} is not allowed; it is above 0")
    scaled = sigma / (255 * min(preprocessing.std) * frame_scale)
    return math.hypot(scaled, math.sqrt(1 / 12))
