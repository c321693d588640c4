"""What tells a stream that a frame shows another scene: a protocol, and the detector that comes with edgeml."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from edgeml.core.scene_cuts import SceneCuts

_LEAST_CONTRAST_CODES = 4.0


class CutDetector(Protocol):
    """Looks at the frames of one stream in order; a detector belongs to that stream."""

    def is_cut(self, frame: npt.NDArray[np.float32]) -> bool:
        """Whether `frame`, float32 (channels, height, width), begins a new scene.

        It is called once for every frame of the stream, those that are key frames for another reason included.
        """
        ...


class SceneCutDetector:
    """`SceneCuts` on a network's normalized frames.

    Args:
        std: standard deviation that pixels of 0 to 1 were divided by.
    """

    def __init__(self, *, std: float = 1.0) -> None:
        self._cuts = SceneCuts(least_contrast=_LEAST_CONTRAST_CODES / (255 * std))

    def is_cut(self, frame: npt.NDArray[np.float32]) -> bool:
        """Whether `frame`, float32 (channels, height, width), begins a new scene."""
        return self._cuts.update(frame.transpose(1, 2, 0))
