"""Tensors whose elements are written out in JSON."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

import msgspec
import numpy as np

from edgeml.serving.errors import InvalidRequestError, TooLargeError
from edgeml.serving.inference import Tensor
from edgeml.serving.protocol.datatypes import as_bytes, element_count, numpy_dtype
from edgeml.serving.protocol.limits import Limits

_INTEGERS = {"UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64"}


def from_json(name: str, datatype: str, shape: Sequence[int], data: bytes | memoryview, limits: Limits) -> Tensor:
    """A tensor from the JSON text of its "data": its elements row by row, flat or nested as its shape.

    Elements are numbers, true and false for BOOL, strings for BYTES (which cannot carry bytes that are no UTF-8).

    Args:
        name: of the tensor, for messages.
        datatype: the protocol's.
        shape: of the tensor.
        data: JSON.
        limits: bounds on elements and nesting, held before anything is built.

    Raises:
        InvalidRequestError: elements of another kind, out of range, or not as many as the shape has.
        TooLargeError: more elements than the limit.
    """
    count = element_count(name, shape, limits)
    text = bytes(data)
    if max(count, text.count(b",")) > limits.json_elements:
        raise TooLargeError(
            f"input {name!r:.80} has more than {limits.json_elements} elements in JSON; send it as binary data"
        )
    # Nesting is held to the shape's by the type that is decoded, so the parser goes no deeper.
    nested = len(shape) > 1 and text.lstrip()[1:].lstrip()[:1] == b"["
    depth = len(shape) if nested else 1
    try:
        values = _decoder(_element_type(datatype), depth).decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequestError(
            f"input {name!r:.80} of shape {list(shape)} and datatype {datatype}: its data cannot be read: {error}"
        ) from error
    if nested:
        values = _flat(name, shape, values)
    if len(values) != count:
        raise InvalidRequestError(
            f"input {name!r:.80} of shape {list(shape)} has {count} elements; {len(values)} were sent"
        )
    return _array(name, datatype, values).reshape(shape)


def to_json(tensor: Tensor) -> list[Any]:
    """A tensor's elements, flat and row by row, as JSON can carry them.

    JSON has no infinities and no NaN; msgspec writes null for these. Bytes that are no UTF-8 are replaced by U+FFFD.
    """
    if tensor.dtype.kind in "OSU":
        return [as_bytes(element).decode(errors="replace") for element in tensor.ravel().tolist()]
    if tensor.dtype.name == "bfloat16":
        tensor = tensor.astype(np.float32)
    elements: list[Any] = tensor.ravel().tolist()
    return elements


def _element_type(datatype: str) -> Any:
    if datatype == "BYTES":
        return str
    if datatype == "BOOL":
        return bool
    return int if datatype in _INTEGERS else float


@lru_cache(maxsize=256)
def _decoder(element: Any, depth: int) -> Any:
    kind: Any = element
    for _ in range(depth):
        kind = list[kind]
    return msgspec.json.Decoder(kind)


def _flat(name: str, shape: Sequence[int], values: list[Any]) -> list[Any]:
    """Nested lists as one, each level held to its axis."""
    level = [values]
    for axis, size in enumerate(shape):
        for each in level:
            if len(each) != size:
                raise InvalidRequestError(
                    f"input {name!r:.80} has the shape {list(shape)}; axis {axis} of its data has {len(each)} elements"
                )
        level = list(chain.from_iterable(level))
    return level


def _array(name: str, datatype: str, values: list[Any]) -> Tensor:
    if datatype == "BYTES":
        found = np.empty(len(values), dtype=object)
        found[:] = [value.encode() for value in values]
        return found
    dtype = numpy_dtype(datatype)
    if datatype in _INTEGERS:
        bounds = np.iinfo(dtype)
        if values and (min(values) < bounds.min or max(values) > bounds.max):
            raise InvalidRequestError(
                f"input {name!r:.80} of datatype {datatype} has elements outside {bounds.min} to {bounds.max}"
            )
        return np.array(values, dtype=dtype)
    with np.errstate(over="ignore"):  # 1e39 is the infinity of a narrower type, as it is in C
        return np.array(values, dtype=np.float64).astype(dtype)
