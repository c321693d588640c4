"""What a network answers to each frame: a class, or a class for each pixel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

NO_ANSWER = -1
"""The class of scores among which one is no number."""


def classes_of(scores: npt.NDArray[Any]) -> npt.NDArray[np.int16] | None:
    """The class with the highest score, int16 () or (height, width); None of an output that is neither.

    Args:
        scores: (1, classes) or (1, classes, height, width); a single channel is one class against none, above 0.
    """
    if scores.ndim not in (2, 4) or scores.shape[0] != 1:
        return None
    found = (scores[0, 0] > 0) if scores.shape[1] == 1 else scores[0].argmax(axis=0)
    known = np.isfinite(scores[0]).all(axis=0)
    return np.where(known, found, NO_ANSWER).astype(np.int16)


class AnswerWriter:
    """Writes the answers to a clip's frames as .npy, int16 (frame) or (frame, height, width).

    Args:
        path: of the file.
        frames: how many will come.
    """

    def __init__(self, path: Path, frames: int) -> None:
        self._path, self._frames = path, frames
        self._file: npt.NDArray[np.int16] | None = None

    def put(self, index: int, scores: npt.NDArray[Any]) -> None:
        """The answer to frame `index`; an output that holds no classes is passed over."""
        found = classes_of(scores)
        if found is None:
            return
        if self._file is None:
            shape = (self._frames, *found.shape)
            self._file = np.lib.format.open_memmap(self._path, mode="w+", dtype=np.int16, shape=shape)
        self._file[index] = found

    def close(self) -> list[int] | None:
        """Shape of what was written; None where the output holds no classes."""
        if self._file is None:
            return None
        shape = list(self._file.shape)
        self._file.flush()  # type: ignore[attr-defined]
        self._file = None
        return shape
