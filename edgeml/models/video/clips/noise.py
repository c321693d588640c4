"""Estimates a sensor's noise from what a clip shows where nothing moves."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeml.core.errors import UsageError
from edgeml.models.video.clips.clip import Pixels

_TILE = 16
# A Gaussian's median absolute deviation, in standard deviations.
_MEDIAN_ABSOLUTE_DEVIATION = 0.6745
# A tile is still while its differences are no larger than this many times what noise alone makes.
_STILL = 1.5
# Noise differs from pixel to pixel, what moves hardly does: the correlation of neighbours tells them apart.
_WHITE = 0.3
_STILL_SHARE = 0.25
# Where more values than that are cut off, the others are no fair sample of the noise.
_KNOWN = 0.9
_ROUNDS = 8
_LARGEST = 255

_Differences = npt.NDArray[np.int16]


@dataclass(frozen=True)
class NoiseEstimate:
    """Noise in codes, as found.

    Attributes:
        sigma: standard deviation of one frame's noise, in the codes of the frames that were given; the rounding to
            codes is part of it.
        still_share: share of the tiles that were found still; see `reliable`.
        pairs: how many pairs of neighbouring frames were looked at.
    """

    sigma: float
    still_share: float
    pairs: int

    @property
    def reliable(self) -> bool:
        """Whether enough was still; otherwise the camera moves or the light changes, and `sigma` is too high."""
        return self.still_share >= _STILL_SHARE


def estimate_noise(frames: Iterable[Pixels], *, most_pairs: int = 24) -> NoiseEstimate:
    """The standard deviation of the noise, from differences of neighbouring frames.

    sigma = median |d| / (0.6745 sqrt 2), d the difference of a value to the frame before; sqrt 2 because both frames
    have noise, the median because edges that move make few but large differences. Codes are whole numbers, so the
    median is taken within the histogram's bar that it falls into (the median of grouped data). It is taken over those
    tiles of 16x16 pixels where differences of neighbouring pixels have a correlation of 0.3 or less, and again over
    those of them whose root mean square is below 1.5 times what the sigma found explains, until the tiles stay the
    same. Values at 0 and 255, where noise is cut off, are left out, and so are tiles with more than a tenth of them.

    Give frames at the size the sensor made them: resizing spreads noise over neighbours. Video codecs remove most
    noise: of a compressed clip it is their output's that is found.

    Args:
        frames: uint8 (height, width, channels), all of one size; only `most_pairs` + 1 of them are read.
        most_pairs: how many differences are looked at.

    Raises:
        UsageError: there are fewer than two frames, or their sizes differ.
    """
    differences = _differences(frames, most_pairs)
    values, neighbours = _tiles(differences)
    squares, counts = values @ np.arange(_LARGEST + 1) ** 2, values.sum(axis=1)
    white = (counts >= _KNOWN * counts.max()) & (neighbours <= _WHITE * squares)
    kept = white if white.any() else counts > 0
    sigma = 0.0
    for _ in range(_ROUNDS):
        sigma = _grouped_median(values[kept]) / (_MEDIAN_ABSOLUTE_DEVIATION * math.sqrt(2))
        # Rounding alone makes a difference's mean square 1/6, which matters where there is hardly any noise.
        limit = _STILL**2 * (2 * sigma**2 + 1 / 6)
        still = white & (squares <= limit * counts)
        if not still.any() or np.array_equal(still, kept):
            break
        kept = still
    return NoiseEstimate(sigma, float((kept & white).mean()), len(differences))


def _differences(frames: Iterable[Pixels], most_pairs: int) -> list[_Differences]:
    """Differences to the frame before, int16 (height, width, channels); what was cut off is out of range."""
    found: list[_Differences] = []
    before: Pixels | None = None
    for frame in frames:
        if before is not None:
            if frame.shape != before.shape:
                raise UsageError(f"noise is estimated from frames of one size; found {before.shape} and {frame.shape}")
            difference = frame.astype(np.int16) - before
            cut = (frame == 0) | (frame == _LARGEST) | (before == 0) | (before == _LARGEST)
            difference[cut] = _LARGEST + 1
            found.append(difference)
        before = frame
        if len(found) == most_pairs:
            break
    if not found:
        raise UsageError("noise is estimated from differences of frames; give a clip of two frames or more")
    return found


def _tiles(differences: list[_Differences]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Of each tile: histogram of |d|, int64 (tile, 256), and sum of d times its right neighbour's, int64 (tile,)."""
    histograms: list[npt.NDArray[np.int64]] = []
    neighbours: list[npt.NDArray[np.int64]] = []
    for difference in differences:
        height, width, channels = difference.shape
        side_y, side_x = min(_TILE, height), min(_TILE, width)
        rows, columns = height // side_y, width // side_x
        whole = difference[: rows * side_y, : columns * side_x]
        tiles = whole.reshape(rows, side_y, columns, side_x, channels).transpose(0, 2, 1, 3, 4)
        tiles = tiles.reshape(rows * columns, side_y, side_x, channels)
        bars = np.abs(tiles).reshape(len(tiles), -1) + np.arange(len(tiles))[:, None] * (_LARGEST + 2)
        counted = np.bincount(bars.ravel(), minlength=len(tiles) * (_LARGEST + 2))
        histograms.append(counted.reshape(len(tiles), -1)[:, : _LARGEST + 1])
        known = np.where(tiles > _LARGEST, 0, tiles).astype(np.int32)
        neighbours.append((known[:, :, 1:] * known[:, :, :-1]).sum(axis=(1, 2, 3), dtype=np.int64))
    return np.concatenate(histograms), np.concatenate(neighbours)


def _grouped_median(histograms: npt.NDArray[np.int64]) -> float:
    """The median of whole numbers' absolute values, each spread evenly half a code to either side."""
    bars = histograms.sum(axis=0)
    total = int(bars.sum())
    if total == 0:
        return 0.0
    below = np.concatenate([[0], np.cumsum(bars)])
    bar = int(np.searchsorted(below[1:], total / 2))
    share = (total / 2 - below[bar]) / bars[bar]
    # |d| = 0 is half a bar wide: from 0 to 1/2.
    return float(share / 2) if bar == 0 else float(bar - 0.5 + share)
