"""Messages between two processes over pipes: a JSON header and numpy arrays, as they lie in memory.

A message is the header's length (8 bytes, little-endian), the header, then each array's bytes. The header's key
"arrays" lists their dtypes and shapes.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from edgeml.runtime.tvm.aligned import aligned_empty

_LENGTH = struct.Struct("<Q")
_HEADER_LIMIT_BYTES = 16 << 20


def write_message(stream: IO[bytes], header: dict[str, Any], arrays: Sequence[npt.NDArray[Any]] = ()) -> None:
    """Send one message.

    Args:
        stream: a binary pipe.
        header: values that JSON takes.
        arrays: arrays of numbers or booleans.
    """
    contiguous = [np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(array.shape) for array in arrays]
    listed = [{"dtype": array.dtype.name, "shape": array.shape} for array in contiguous]
    text = json.dumps({**header, "arrays": listed}).encode()
    stream.write(_LENGTH.pack(len(text)) + text)
    for array in contiguous:
        stream.write(array.reshape(-1).view(np.uint8).data)
    stream.flush()


def read_message(stream: IO[bytes]) -> tuple[dict[str, Any], list[npt.NDArray[Any]]] | None:
    """The next message; None where the other side has ended.

    Raises:
        ValueError: what arrives is no such message.
    """
    length = stream.read(_LENGTH.size)
    if len(length) < _LENGTH.size:
        return None
    (size,) = _LENGTH.unpack(length)
    if size > _HEADER_LIMIT_BYTES:
        raise ValueError(f"a header of {size} bytes is no message")
    header = json.loads(stream.read(size))
    arrays = []
    for listed in header.pop("arrays"):
        array = aligned_empty(tuple(listed["shape"]), listed["dtype"])
        view = array.reshape(-1).view(np.uint8).data
        filled = 0
        while filled < len(view):
            count = stream.readinto(view[filled:])  # type: ignore[attr-defined]
            if not count:
                return None
            filled += count
        arrays.append(array)
    return header, arrays
