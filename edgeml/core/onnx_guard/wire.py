"""Protobuf's wire format read in place: fields are located in a buffer, never copied or built into objects.

Follows https://protobuf.dev/programming-guides/encoding/ and is stricter than protobuf's own readers: what no writer
produces (groups, field number 0, varints with padding) is refused, so that no two readers can understand a file
differently.
"""

from __future__ import annotations

from collections.abc import Iterator
from mmap import mmap
from typing import Final

import numpy as np

from edgeml.core.errors import UsageError

Buffer = bytes | mmap

VARINT: Final = 0
FIXED64: Final = 1
LENGTH: Final = 2
FIXED32: Final = 5

_VARINT_BYTES = 10
_TAG_LIMIT = 1 << 32
_LENGTH_LIMIT = (1 << 31) - 1
_CHUNK = 1 << 20


def fields(buffer: Buffer, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """The fields of the message that lies in buffer[start:end], in file order.

    Yields:
        (field number, wire type, a, b). For a varint, a is its unsigned value and b is 0; for every other wire type the
        payload is buffer[a:b].

    Raises:
        UsageError: the bytes are no protobuf message.
    """
    position = start
    while position < end:
        # One-byte numbers, which most are, are read here: this loop is where the time of a check goes.
        tag = buffer[position]
        if tag < 0x80:
            position += 1
        else:
            tag, position = read_varint(buffer, position, end)
        number, wire = tag >> 3, tag & 7
        if number == 0 or tag >= _TAG_LIMIT:
            raise malformed(f"field number {number} at byte {position}")
        if wire in (LENGTH, VARINT):
            if position < end and (value := buffer[position]) < 0x80:
                position += 1
            else:
                value, position = read_varint(buffer, position, end)
            if wire == VARINT:
                yield number, wire, value, 0
                continue
            size = value
            if size > end - position or size > _LENGTH_LIMIT:
                raise malformed(f"a length of {size} where {end - position} bytes are left at byte {position}")
        elif wire in (FIXED32, FIXED64):
            size = 4 if wire == FIXED32 else 8
            if size > end - position:
                raise malformed(f"a value of {size} bytes where {end - position} are left at byte {position}")
        else:
            raise malformed(f"wire type {wire} at byte {position}")
        yield number, wire, position, position + size
        position += size


def read_varint(buffer: Buffer, position: int, end: int) -> tuple[int, int]:
    """The unsigned 64-bit varint at `position` and the position after it.

    Raises:
        UsageError: it is cut off, longer than 64 bits, or padded with zero bytes.
    """
    if position < end:
        value = buffer[position]
        if value < 0x80:
            return value, position + 1
    value = shift = 0
    for place in range(position, min(end, position + _VARINT_BYTES)):
        byte = buffer[place]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >= 1 << 64 or byte == 0:
                raise malformed(f"a number that is over-long at byte {position}")
            return value, place + 1
        shift += 7
    raise malformed(f"a number that does not end at byte {position}")


def count_varints(buffer: Buffer, start: int, end: int) -> int:
    """How many varints are packed in buffer[start:end]; a megabyte at a time is looked at.

    Raises:
        UsageError: one of them is cut off or longer than 64 bits.
    """
    count = 0
    last = start - 1
    for begin in range(start, end, _CHUNK):
        chunk = np.frombuffer(buffer[begin : min(end, begin + _CHUNK)], dtype=np.uint8)
        ends = np.flatnonzero(chunk < 0x80) + begin
        if len(ends):
            if int(np.diff(ends, prepend=last).max()) > _VARINT_BYTES:
                raise malformed(f"a packed number that does not end at byte {begin}")
            last = int(ends[-1])
            count += len(ends)
        elif begin + len(chunk) - last > _VARINT_BYTES + 1:
            raise malformed(f"a packed number that does not end at byte {begin}")
    if last != end - 1:
        raise malformed(f"a packed number that does not end at byte {end}")
    return count


def signed64(value: int) -> int:
    """The two's complement reading of an unsigned 64-bit value, as protobuf's int32, int64 and enum have it."""
    return value - (1 << 64) if value >= 1 << 63 else value


def malformed(what: str) -> UsageError:
    """The error for bytes that are not what ONNX writers produce; `what` says where and why."""
    return UsageError(f"it is no ONNX model, or a damaged one: {what}")
