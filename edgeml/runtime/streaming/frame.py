"""What a stream gives for one frame: the network's outputs and what they took."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy.typing as npt

Kind = Literal["key", "residual"]
Reason = Literal["first", "interval", "cut", "reset"]


@dataclass(frozen=True, kw_only=True)
class FrameStatistics:
    """What one frame took.

    Attributes:
        kind: whether the frame was computed whole or only where it changed.
        reason: why it was a key frame: the first of its stream, one that was due, a cut, or a reset; None for a
            residual one.
        time_s: from the call with the frame to its outputs, the cut detector included.
        bit_operations: sum over steps of macs x weight bits x activation bits x share of changed pixels; a lower bound
            in gated networks, whose kernels compute whole tiles.
        active_share: share of changed pixels of each gated step, by name, in the order of the network.
    """

    kind: Kind
    reason: Reason | None
    time_s: float
    bit_operations: float
    active_share: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class StreamFrame:
    """The result for one frame.

    Attributes:
        outputs: of the network by name, arrays that the caller may keep and change.
        statistics: what they took.
    """

    outputs: Mapping[str, npt.NDArray[Any]]
    statistics: FrameStatistics
