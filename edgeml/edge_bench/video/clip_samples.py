"""A clip as it is measured: frames that lie ready in memory, and what is known of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeml.core.errors import UsageError


@dataclass(frozen=True, kw_only=True, eq=False)
class ClipSamples:
    """The frames of one clip in order.

    Attributes:
        name: of the clip, for people.
        frames: float32 (frame, channels, height, width), normalized as the network wants them.
        cuts: indices of frames that begin a new scene, for streams to compute whole.
        masks: class of each pixel, integers (frame, mask height, mask width); None where it is not known.
        labels: class of each frame, integers (frame); None where it is not known.
        moving: pixels that differ from the frame before, bool (frame, height, width); None finds them in the frames.
    """

    name: str
    frames: npt.NDArray[np.float32]
    cuts: tuple[int, ...] = ()
    masks: npt.NDArray[Any] | None = None
    labels: npt.NDArray[Any] | None = None
    moving: npt.NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        frames = self.frames
        if frames.ndim != 4 or frames.dtype != np.float32:
            raise UsageError(
                f"{self.name}: its frames are {frames.dtype} {frames.shape}; they must be float32 (frame, channels, "
                "height, width)"
            )
        if len(frames) < 2:
            raise UsageError(f"{self.name} has {len(frames)} frames; a video has at least 2")
        for what, array, rank in (("masks", self.masks, 3), ("labels", self.labels, 1), ("moving", self.moving, 3)):
            if array is not None and (array.ndim != rank or len(array) != len(frames)):
                raise UsageError(f"{self.name}: its {what} have the shape {array.shape} for {len(frames)} frames")
        if not all(0 <= cut < len(frames) for cut in self.cuts):
            raise UsageError(f"{self.name}: its cuts are {self.cuts}; it has frames 0 to {len(frames) - 1}")

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of a frame."""
        _, channels, height, width = self.frames.shape
        return channels, height, width
