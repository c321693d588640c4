"""The IDX reader takes what it should and refuses the rest."""

from __future__ import annotations

import gzip
import struct
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from edgeml.core.errors import UntrustedFileError, UsageError
from edgeml.models.datasets.idx import parse_idx, read_bounded


def idx(array: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> bytes:
    """The IDX file that holds `array`, by the format's own description."""
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


@given(arrays(np.uint8, array_shapes(min_dims=1, max_dims=4, max_side=5)))
def test_what_is_written_is_read(array: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> None:
    np.testing.assert_array_equal(parse_idx(idx(array), array.ndim), array)


@given(st.binary(max_size=64))
def test_any_bytes_are_an_array_or_a_usage_error(content: bytes) -> None:
    with suppress(UsageError):
        assert parse_idx(content, 3).ndim == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\0\0", "too few"),
        (b"\0\0\x08\x03" + bytes(8), "inside its header"),
        (b"\0\0\x08\x01\0\0\0\x05abc", "promises 5 values"),
        (b"\0\0\x08\x01\0\0\0\x02abc", "holds 3"),
        (b"\0\0\x0d\x01\0\0\0\x01abcd", "expected 00000801"),
        (b"\0\0\x08\x03\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "holds 0"),
    ],
)
def test_a_wrong_header_is_told(content: bytes, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_idx(content, 3 if content[3:4] == b"\x03" else 1)


def test_compressed_content_is_unpacked_up_to_the_limit(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.gz"
    bomb.write_bytes(gzip.compress(bytes(10_000_000)))
    assert len(read_bounded(bomb)) == 10_000_000
    with pytest.raises(UntrustedFileError, match="more than 1000 bytes"):
        read_bounded(bomb, limit_bytes=1000)


def test_damaged_compression_is_told(tmp_path: Path) -> None:
    path = tmp_path / "cut.gz"
    path.write_bytes(gzip.compress(bytes(range(256)) * 100)[:-20])
    with pytest.raises(UsageError, match=r"cut\.gz"):
        read_bounded(path)
    flipped = bytearray(gzip.compress(bytes(range(256)) * 100))
    flipped[-6] ^= 1
    path.write_bytes(flipped)
    with pytest.raises(UsageError, match="CRC"):
        read_bounded(path)
