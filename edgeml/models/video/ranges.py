"""Ranges of a video graph's values on calibration frames, and the 8-bit codes that stand for a range."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from edgeml.core.errors import UsageError
from edgeml.models.video.execute import run
from edgeml.models.video.graph import VideoGraph

Method = Literal["minmax", "percentile", "mse"]
METHODS: tuple[Method, ...] = get_args(Method)

_BINS = 2048
_TAIL = 1e-4  # share of values that a percentile range leaves out, half of it at each end
_SHRINKS = np.linspace(1.0, 0.3, 36)
_ROUNDS = 2
_BATCH = 4


@dataclass(frozen=True)
class CodeRange:
    """Unsigned 8-bit codes: real = scale * (code - zero_point).

    Attributes:
        scale: a float32 number, greater than 0.
        zero_point: the code of 0, 0 to 255.
    """

    scale: float
    zero_point: int

    @classmethod
    def spanning(cls, low: float, high: float) -> CodeRange:
        """The codes whose ends are nearest to `low` and `high`, widened to hold 0."""
        low, high = min(0.0, low), max(0.0, high)
        scale = np.float32((high - low) / 255)
        if not scale >= np.finfo(np.float32).tiny:  # nothing but zeros
            scale = np.float32(1 / 255)
        return cls(float(scale), int(np.clip(np.rint(-low / scale), 0, 255)))

    @property
    def low(self) -> float:
        """What code 0 stands for."""
        return -self.scale * self.zero_point

    @property
    def high(self) -> float:
        """What code 255 stands for."""
        return self.scale * (255 - self.zero_point)

    def quantize(self, values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
        """The nearest codes, as ONNX's QuantizeLinear gives them: ties to even, saturating."""
        rounded = np.rint(values.astype(np.float32) / np.float32(self.scale)) + np.float32(self.zero_point)
        codes: npt.NDArray[np.uint8] = np.clip(rounded, 0, 255).astype(np.uint8)
        return codes

    def dequantize(self, codes: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """What the codes stand for, float32, as ONNX's DequantizeLinear gives it."""
        centred = (codes.astype(np.int32) - self.zero_point).astype(np.float32)
        real: npt.NDArray[np.float32] = centred * np.float32(self.scale)
        return real


def calibrate(graph: VideoGraph, frames: npt.NDArray[np.float32], method: Method = "mse") -> dict[str, CodeRange]:
    """Codes for every value of the graph, "frame" among them.

    Args:
        graph: the network.
        frames: float32 (frame, channels, height, width), such as the network will see; not those it is judged on.
        method: "minmax" takes the extremes, "percentile" the range that holds all but a 10000th of the values, "mse"
            the range with the least mean square error of the codes. The frame itself always has its extremes.

    Raises:
        UsageError: there are no frames, they are not of the graph's shape or not finite, or the method is unknown.
    """
    if method not in METHODS:
        raise UsageError(f"unknown calibration method {method!r}; allowed: {', '.join(METHODS)}")
    if frames.ndim != 4 or not len(frames) or frames.shape[1:] != graph.input_shape:
        raise UsageError(
            f"calibration frames of shape {frames.shape}; allowed: (frames, {', '.join(map(str, graph.input_shape))}), "
            "one frame or more"
        )
    if not np.isfinite(frames).all():
        raise UsageError("calibration frames hold values that are not finite; normalize the frames as the network asks")
    extremes: dict[str, tuple[float, float]] = {}
    for values in _batches(graph, frames):
        for name, value in values.items():
            low, high = extremes.get(name, (np.inf, -np.inf))
            extremes[name] = (min(low, float(value.min())), max(high, float(value.max())))
    for name, ends in extremes.items():
        if not np.isfinite(ends).all():
            raise UsageError(f"the value {name} is not finite on the calibration frames; mend the network's weights")
    if method != "minmax":
        histograms = _histograms(_batches(graph, frames), extremes)
        choose = _percentile if method == "percentile" else least_square
        extremes |= {
            name: choose(counts, *extremes[name]) for name, counts in histograms.items() if name != "frame"
        }  # fmt: skip
    return {name: CodeRange.spanning(*ends) for name, ends in extremes.items()}


def least_square(counts: npt.NDArray[np.int64], low: float, high: float) -> tuple[float, float]:
    """The range whose 256 codes have the least mean square error, found by shrinking one end after the other.

    Args:
        counts: int64 (bins), how many values lie in each of as many equal parts of `low` to `high`.
        low: the least value.
        high: the greatest value.
    """
    centres = low + (np.arange(len(counts)) + 0.5) * (high - low) / len(counts)

    def error(ends: tuple[float, float]) -> float:
        codes = CodeRange.spanning(*ends)
        nearest = np.clip(np.rint(centres / codes.scale), -codes.zero_point, 255 - codes.zero_point) * codes.scale
        return float(counts @ np.square(centres - nearest))

    # The widest first, so that nothing is given up for nothing.
    lows = (low * _SHRINKS).tolist() if low < 0 else [0.0]
    highs = (high * _SHRINKS).tolist() if high > 0 else [0.0]
    best = (lows[0], highs[0])
    for _ in range(_ROUNDS if len(lows) > 1 and len(highs) > 1 else 1):
        best = min(((best[0], each) for each in highs), key=error)
        best = min(((each, best[1]) for each in lows), key=error)
    return best


def _percentile(counts: npt.NDArray[np.int64], low: float, high: float) -> tuple[float, float]:
    edges = np.linspace(low, high, len(counts) + 1)
    share = np.cumsum(counts) / counts.sum()
    first = int(np.searchsorted(share, _TAIL / 2, side="right"))
    last = int(np.searchsorted(share, 1 - _TAIL / 2, side="left"))
    return float(edges[first]), float(edges[last + 1])


def _batches(graph: VideoGraph, frames: npt.NDArray[np.float32]) -> Iterator[dict[str, npt.NDArray[np.float32]]]:
    for start in range(0, len(frames), _BATCH):
        yield run(graph, frames[start : start + _BATCH])


def _histograms(
    batches: Iterable[dict[str, npt.NDArray[np.float32]]], extremes: dict[str, tuple[float, float]]
) -> dict[str, npt.NDArray[np.int64]]:
    counts = {name: np.zeros(_BINS, np.int64) for name, (low, high) in extremes.items() if high > low}
    for values in batches:
        for name, found in counts.items():
            low, high = extremes[name]
            place = (values[name].ravel() - np.float32(low)) * np.float32(_BINS / (high - low))
            found += np.bincount(np.clip(place, 0, _BINS - 1).astype(np.int64), minlength=_BINS)
    return counts
