"""The protocol's tensor datatypes and numpy's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeml.runtime.inference_protocol.datatypes import DATATYPES, NUMPY_NAMES
from edgeml.serving.errors import InvalidRequestError
from edgeml.serving.protocol.limits import Limits

# Little-endian, as the protocol's raw data is.
_DTYPES = {
    datatype: np.dtype(name).newbyteorder("<")
    for datatype, name in NUMPY_NAMES.items()
    if datatype not in {"BF16", "BYTES"}
}


def datatype_of(dtype: str) -> str:
    """The protocol's name of a TensorSpec's dtype ("float32" -> "FP32").

    Raises:
        InvalidRequestError: the protocol has none (4-bit integers, complex numbers, float8).
    """
    datatype = DATATYPES.get(dtype)
    if datatype is None:
        raise InvalidRequestError(f"the protocol has no datatype for {dtype}; it has {', '.join(NUMPY_NAMES)}")
    return datatype


def numpy_name(datatype: str) -> str:
    """The TensorSpec's dtype of a protocol datatype ("FP32" -> "float32")."""
    return NUMPY_NAMES[datatype]


def numpy_dtype(datatype: str) -> np.dtype[Any]:
    """The dtype of one element of raw data; not for BYTES, whose elements differ in size."""
    if datatype == "BF16":
        import ml_dtypes

        bfloat16: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
        return bfloat16
    return _DTYPES[datatype]


def check_datatype(name: str, datatype: str) -> str:
    """The datatype, if it is one.

    Raises:
        InvalidRequestError: it is none of the protocol's.
    """
    if datatype not in NUMPY_NAMES:
        raise InvalidRequestError(
            f"input {name!r:.80} has the datatype {datatype!r:.40}; allowed: {', '.join(NUMPY_NAMES)}"
        )
    return datatype


def element_count(name: str, shape: Sequence[int], limits: Limits) -> int:
    """Elements of a tensor of that shape, computed without overflow.

    Raises:
        InvalidRequestError: too many axes, or a negative one.
    """
    if len(shape) > limits.rank:
        raise InvalidRequestError(f"input {name!r:.80} has {len(shape)} axes; at most {limits.rank} are allowed")
    if any(axis < 0 for axis in shape):
        raise InvalidRequestError(f"input {name!r:.80} has the shape {list(shape)}; no axis may be negative")
    return math.prod(shape)


def from_raw(name: str, datatype: str, shape: Sequence[int], data: memoryview, limits: Limits) -> npt.NDArray[Any]:
    """A tensor of raw data: a read-only view of it, an object array of `bytes` for BYTES.

    Args:
        name: of the tensor, for messages.
        datatype: the protocol's.
        shape: of the tensor.
        data: row-major, little-endian elements without gaps; BYTES elements each behind their length in 4 bytes.
        limits: bounds on the shape.

    Raises:
        InvalidRequestError: shape and size do not fit.
    """
    count = element_count(name, shape, limits)
    if datatype == "BYTES":
        return _split_bytes(name, count, data).reshape(shape)
    dtype = numpy_dtype(datatype)
    if count * dtype.itemsize != len(data):
        raise InvalidRequestError(
            f"input {name!r:.80} of shape {list(shape)} and datatype {datatype} takes {count * dtype.itemsize} bytes; "
            f"{len(data)} were sent"
        )
    tensor = np.frombuffer(data, dtype=dtype).reshape(shape)
    tensor.flags.writeable = False
    return tensor


def to_raw(tensor: npt.NDArray[Any]) -> bytes | memoryview:
    """A tensor's elements as raw data, without copying where it lies row-major already."""
    if tensor.dtype.kind in "OSU":
        return _join_bytes(tensor)
    contiguous = np.ascontiguousarray(tensor)
    if contiguous.dtype.byteorder == ">":
        contiguous = contiguous.astype(contiguous.dtype.newbyteorder("<"))
    return contiguous.reshape(-1).view(np.uint8).data if contiguous.size else b""


def as_bytes(element: object) -> bytes:
    """One element of a BYTES tensor."""
    return element if isinstance(element, bytes) else str(element).encode()


def _split_bytes(name: str, count: int, data: memoryview) -> npt.NDArray[Any]:
    if count * 4 > len(data):  # each element has at least its length; so `count` is bounded by what was sent
        raise InvalidRequestError(
            f"input {name!r:.80} has {count} BYTES elements, which take at least {count * 4} bytes; "
            f"{len(data)} were sent"
        )
    elements = np.empty(count, dtype=object)
    position = 0
    for index in range(count):
        start = position + 4
        end = start + int.from_bytes(data[position:start], "little")
        if start > len(data) or end > len(data):
            raise InvalidRequestError(f"input {name!r:.80}: BYTES element {index} goes beyond the end of its data")
        elements[index] = bytes(data[start:end])
        position = end
    if position != len(data):
        raise InvalidRequestError(
            f"input {name!r:.80}: {len(data) - position} bytes are left after its {count} BYTES elements"
        )
    return elements


def _join_bytes(tensor: npt.NDArray[Any]) -> bytes:
    parts = []
    for element in tensor.ravel().tolist():
        data = as_bytes(element)
        parts += [len(data).to_bytes(4, "little"), data]
    return b"".join(parts)
