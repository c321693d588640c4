import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeml.core.errors import UsageError
from edgeml.core.onnx_guard.wire import count_varints, fields, read_varint, signed64

UINT64 = st.integers(0, (1 << 64) - 1)


def encoded(value: int) -> bytes:
    """The varint as protobuf itself writes it, behind a tag of one byte."""
    return bytes(onnx.OperatorSetIdProto(version=signed64(value)).SerializeToString()[1:])


@given(UINT64)
def test_a_varint_is_read_as_protobuf_writes_it(value: int) -> None:
    data = b"\xff" + encoded(value) + b"\x01"
    assert read_varint(data, 1, len(data)) == (value, len(data) - 1)


@given(st.integers(-(1 << 63), (1 << 63) - 1))
def test_a_negative_number_is_its_twos_complement(value: int) -> None:
    assert signed64(value % (1 << 64)) == value


@given(st.lists(UINT64))
def test_packed_varints_are_counted(values: list[int]) -> None:
    data = b"".join(map(encoded, values))
    assert count_varints(data, 0, len(data)) == len(values)


def test_packed_varints_are_counted_across_pieces() -> None:
    values = np.random.default_rng(0).integers(0, 1 << 40, 500_000, dtype=np.uint64)
    data = b"\x80" * 5 + b"".join(map(encoded, values.tolist())) + b"\x80"
    assert len(data) > 2 << 20
    assert count_varints(data, 5, len(data) - 1) == len(values)


@pytest.mark.parametrize("data", [b"\x80", b"\x01\x80", b"\x80" * 11 + b"\x01", b"\x80" * (3 << 20), b"\x80" * 30])
def test_packed_varints_that_do_not_end_are_refused(data: bytes) -> None:
    with pytest.raises(UsageError, match="does not end"):
        count_varints(data, 0, len(data))


@pytest.mark.parametrize(
    "data",
    [
        b"\x08",  # a tag without its value
        b"\x08\x80",  # a value cut off
        b"\x0a",  # a tag without its length
        b"\x0a\x05abc",  # a length past the end
        b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",  # a length of 2**64 - 1
        b"\x0d\x00\x00\x00",  # four bytes cut off
        b"\x09\x00\x00\x00",  # eight bytes cut off
        b"\x00\x00",  # field number 0
        b"\x02\x00",  # field number 0 again, with a length
        b"\x0b\x0c",  # a group, begun and ended
        b"\x0c",  # a group's end
        b"\x0e",  # wire type 6
        b"\x0f",  # wire type 7
        b"\x88\x00\x01",  # a tag with padding
        b"\x0a\x80\x00",  # a length with padding
        b"\x08\x81\x80\x00",  # a value with padding
        b"\x08" + b"\xff" * 9 + b"\x02",  # a value of 65 bits
        b"\x08" + b"\xff" * 10 + b"\x01",  # a value of eleven bytes
        b"\xf8\xff\xff\xff\xff\x01\x00",  # a field number of more than 29 bits
    ],
)
def test_what_no_writer_produces_is_refused(data: bytes) -> None:
    with pytest.raises(UsageError, match=r"no ONNX model, or a damaged one: .* at byte"):
        list(fields(data, 0, len(data)))


@given(st.binary(max_size=64))
def test_fields_lie_inside_their_message_one_after_the_other(data: bytes) -> None:
    last = 0
    try:
        for number, wire, a, b in fields(data, 0, len(data)):
            assert number > 0
            if wire:
                assert last < a <= b <= len(data)
                last = b
    except UsageError:
        pass


def test_bytes_outside_the_message_are_not_looked_at() -> None:
    data = b"\x0a\x02ab" + b"\xff" * 20
    assert list(fields(data, 0, 4)) == [(1, 2, 2, 4)]
    with pytest.raises(UsageError, match="a length of 2 where 1 bytes are left"):
        list(fields(data, 0, 3))
