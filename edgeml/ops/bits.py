"""Signs packed into bits: how +1 and -1 are stored, eight to a byte.

Bit 1 is negative (-1), bit 0 is +1; the least significant bit of a byte comes first. Bits beyond the last sign are 0.
"""

from typing import Any

import numpy as np
import numpy.typing as npt


def pack_signs(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """The signs of `values` (…, size) as uint8 (…, ceil(size / 8)); 0, -0 and NaN count as +1."""
    return np.packbits(values < 0, axis=-1, bitorder="little")


def unpack_signs(packed: npt.NDArray[np.uint8], size: int) -> npt.NDArray[np.int8]:
    """The signs, int8 +1 and -1 (…, size), in `packed`, uint8 (…, ceil(size / 8)).

    Raises:
        ValueError: the last axis does not hold `size` bits.
    """
    if packed.shape[-1] != packed_size(size):
        raise ValueError(f"{size} signs take {packed_size(size)} bytes; the last axis of {packed.shape} has others")
    bits = np.unpackbits(packed, axis=-1, count=size, bitorder="little")
    return 1 - 2 * bits.astype(np.int8)


def packed_size(size: int) -> int:
    """How many bytes `size` signs take."""
    return -(-size // 8)
