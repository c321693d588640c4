"""8-bit codes in numpy: what results become as codes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Codes = npt.NDArray[np.uint8]


def saturate(values: npt.NDArray[np.float32], zero_point: int) -> Codes:
    """The codes of float32 values in units of the output's scale: rounded to nearest even, shifted, clipped."""
    return np.clip(np.rint(values) + np.float32(zero_point), 0, 255).astype(np.uint8)
