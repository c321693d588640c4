"""Tells the frames of a video that begin a new scene, so that a session computes them whole."""

from __future__ import annotations

import math
from collections import deque

import numpy as np
import numpy.typing as npt

from edgeml.core.errors import UsageError

# Frames are compared as grids of so many means, each of at most so many pixels to a side.
_ROWS, _COLUMNS = 16, 32
_SAMPLES = 8


class SceneCuts:
    """Finds cuts in frames that are given one after another.

    The statistic is mean |a - b| / (std a + std b), with a and b the means of neighbouring frames' grey over a grid of
    16x32 cells. It does not depend on brightness or contrast, so it is the same for pixels and for normalized inputs.
    Pictures that have nothing in common make 0.56 or more (Gaussian ones of equal mean and deviation: 1 / sqrt(pi)).
    A frame is a cut where it exceeds `distance`, and `surge` times the largest of the last `memory` frames' as well,
    which fast motion of camera or objects has already raised. benchmarks/scene_cuts.py measures hits and false alarms.

    Slow fades and dissolves are no cuts: no frame of them differs much from the one before.

    Args:
        distance: the least statistic of a cut.
        surge: the least ratio to what went before.
        memory: so many frames are remembered; fewer after a start or a cut.
        least_contrast: the least std a + std b, in the frames' units, so that noise on a flat picture is none. The
            default suits codes of 0 to 255; for inputs divided by 255 and normalized it is 4 / (255 std).

    Raises:
        UsageError: an argument is out of its range.
    """

    def __init__(
        self, *, distance: float = 0.4, surge: float = 1.3, memory: int = 3, least_contrast: float = 4.0
    ) -> None:
        if not (0 < distance < math.inf and 0 <= surge < math.inf and memory >= 1 and 0 < least_contrast < math.inf):
            raise UsageError(
                f"scene cuts at distance {distance}, surge {surge}, memory {memory} and least contrast "
                f"{least_contrast} are not allowed; surge is 0 or more, memory 1 or more, the others above 0"
            )
        self._distance = distance
        self._surge = surge
        self._least_contrast = least_contrast
        self._recent: deque[float] = deque(maxlen=memory)
        self._before: npt.NDArray[np.float32] | None = None
        self._shape: tuple[int, ...] | None = None

    def update(self, frame: npt.NDArray[np.uint8] | npt.NDArray[np.float32]) -> bool:
        """Whether `frame` begins a new scene; the first one after a start or a reset is no cut.

        A frame of another size than the one before is a cut.

        Args:
            frame: uint8 or float32 (height, width, channels), one of each size at least.
        """
        grid = _grid(frame)
        before, shape = self._before, self._shape
        self._before, self._shape = grid, frame.shape
        if before is None:
            return False
        if shape != frame.shape:
            self._recent.clear()
            return True
        contrast = max(float(before.std() + grid.std()), self._least_contrast)
        value = float(np.abs(grid - before).mean()) / contrast
        cut = value > self._distance and value > self._surge * max(self._recent, default=0.0)
        if cut:
            self._recent.clear()
        else:
            self._recent.append(value)
        return cut

    def reset(self) -> None:
        """Forget all frames; the next one is the first."""
        self._recent.clear()
        self._before = None
        self._shape = None


def _grid(frame: npt.NDArray[np.uint8] | npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Means over cells and channels, float32 (rows, columns); what is left over at the bottom and right is left out."""
    height, width, channels = frame.shape
    rows, columns = min(_ROWS, height), min(_COLUMNS, width)
    cell_y, cell_x = height // rows, width // columns
    whole = frame[: rows * cell_y, : columns * cell_x].reshape(rows, cell_y, columns, cell_x, channels)
    seen = whole[:, :: math.ceil(cell_y / _SAMPLES), :, :: math.ceil(cell_x / _SAMPLES)]
    # Whole rows are added up first: ten times as fast as one mean over the three axes.
    values = seen.astype(np.float32)
    _, down, _, across, _ = values.shape
    lines = values.reshape(rows, down, -1).sum(axis=1)
    sums: npt.NDArray[np.float32] = lines.reshape(rows, columns, -1).sum(axis=2)
    return sums / np.float32(down * across * channels)
