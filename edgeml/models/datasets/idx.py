"""Reads IDX files, the format MNIST and Fashion-MNIST are published in, plain or gzip-compressed."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgeml.core.errors import UntrustedFileError, UsageError

_UNSIGNED_BYTE = 0x08
_GZIP_MAGIC = b"\x1f\x8b"
LIMIT_BYTES = 256 << 20


def read_bounded(path: Path, limit_bytes: int = LIMIT_BYTES) -> bytes:
    """Content of a file, decompressed where it is gzip, never more than `limit_bytes`.

    Raises:
        UsageError: the file cannot be read or its compression is damaged.
        UntrustedFileError: the content is longer than the limit.
    """
    try:
        with path.open("rb") as raw:
            compressed = raw.read(2) == _GZIP_MAGIC
            raw.seek(0)
            if compressed:
                with gzip.open(raw) as unpacked:
                    content = unpacked.read(limit_bytes + 1)
            else:
                content = raw.read(limit_bytes + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise UsageError(f"cannot read {path}: {error}; delete it and fetch it again") from error
    if len(content) > limit_bytes:
        raise UntrustedFileError(f"{path} holds more than {limit_bytes} bytes unpacked, the limit for IDX files")
    return content


def parse_idx(content: bytes, dimensions: int) -> npt.NDArray[np.uint8]:
    """The array in an IDX file: uint8, read-only, with `dimensions` axes.

    Layout: two zero bytes, the type code (8: unsigned byte), the number of axes, one big-endian 32-bit size an axis,
    then the values, last axis fastest. Only unsigned bytes are read.

    Raises:
        UsageError: the header is not that of such a file, or the length does not fit it.
    """
    if len(content) < 4:
        raise UsageError(f"not an IDX file: {len(content)} bytes are too few for its header")
    zero, code, axes = struct.unpack_from(">HBB", content)
    if zero != 0 or code != _UNSIGNED_BYTE or axes != dimensions:
        raise UsageError(
            f"not the IDX file expected: it starts with {content[:4].hex()}, "
            f"expected 0000{_UNSIGNED_BYTE:02x}{dimensions:02x}"
        )
    start = 4 + 4 * axes
    if len(content) < start:
        raise UsageError(f"not an IDX file: it ends after {len(content)} bytes, inside its header")
    shape = struct.unpack_from(f">{axes}I", content, 4)
    if len(content) - start != math.prod(shape):
        raise UsageError(
            f"damaged IDX file: its header promises {math.prod(shape)} values {shape}, it holds {len(content) - start}"
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)
