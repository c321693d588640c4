from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgeml.runtime.array_messages import read_message, write_message
from edgeml.runtime.tvm.aligned import is_aligned

NAMES = ("bool", "int8", "uint8", "int16", "int32", "int64", "uint64", "float16", "float32", "float64", ">f4")
DTYPES = st.sampled_from(NAMES)
ARRAYS = DTYPES.flatmap(lambda dtype: arrays.arrays(np.dtype(dtype), arrays.array_shapes(min_dims=0, min_side=0)))


@given(st.dictionaries(st.text().filter(lambda key: key != "arrays"), st.integers() | st.text()), st.lists(ARRAYS))
def test_what_is_read_is_what_was_written(header: dict[str, Any], sent: list[npt.NDArray[Any]]) -> None:
    stream = io.BytesIO()
    write_message(stream, header, sent)
    write_message(stream, {"next": 1})
    stream.seek(0)
    message = read_message(stream)
    assert message is not None
    found, received = message
    assert found == header
    for before, after in zip(sent, received, strict=True):
        np.testing.assert_array_equal(before, after)
        assert after.dtype == before.dtype.newbyteorder("=")
        assert is_aligned(after)
        assert after.flags.writeable
    assert read_message(stream) == ({"next": 1}, [])
    assert read_message(stream) is None


def test_a_view_with_strides_arrives_as_its_values() -> None:
    sent = np.arange(24).reshape(2, 3, 4).transpose(2, 0, 1)[::-1]
    stream = io.BytesIO()
    write_message(stream, {}, [sent])
    stream.seek(0)
    message = read_message(stream)
    assert message is not None
    np.testing.assert_array_equal(message[1][0], sent)


@pytest.mark.parametrize("kept", [0, 5, 9, 60, -1])
def test_a_message_cut_short_is_the_end(kept: int) -> None:
    stream = io.BytesIO()
    write_message(stream, {"a": 1}, [np.arange(10)])
    cut = io.BytesIO(stream.getvalue()[:kept])
    try:
        assert read_message(cut) is None
    except ValueError:
        assert kept in {9, 60}  # in the middle of the header, which then is no JSON


def test_other_bytes_are_refused() -> None:
    with pytest.raises(ValueError, match="is no message"):
        read_message(io.BytesIO(b"Hello, world, hello"))
