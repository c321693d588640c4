"""Arrays that begin where vector instructions may load them: at a multiple of 64 bytes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

ALIGNMENT_BYTES = 64
"""What compiled libraries assume of their inputs; numpy itself promises 16."""


def is_aligned(array: npt.NDArray[Any]) -> bool:
    """Whether the array's first byte lies at a multiple of 64."""
    address: int = array.__array_interface__["data"][0]
    return address % ALIGNMENT_BYTES == 0 or array.size == 0


def aligned_empty(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """An array of that shape and dtype, its values undefined, that begins at a multiple of 64 bytes."""
    kind = np.dtype(dtype)
    size = math.prod(shape) * kind.itemsize
    memory = np.empty(size + ALIGNMENT_BYTES, np.uint8)
    start = -memory.__array_interface__["data"][0] % ALIGNMENT_BYTES
    return memory[start : start + size].view(kind).reshape(shape)


def aligned_copy(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A contiguous copy in native byte order that begins at a multiple of 64 bytes."""
    copy = aligned_empty(array.shape, array.dtype.newbyteorder("="))
    copy[...] = array
    return copy
