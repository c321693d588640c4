from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeml.ops.bits import pack_signs, unpack_signs


def test_the_least_significant_bit_comes_first_and_one_is_negative() -> None:
    values = np.array([-1, 1, 1, 1, 1, 1, 1, -1, 1, -3], np.float32)
    assert pack_signs(values).tolist() == [0b10000001, 0b00000010]


def test_zero_of_either_sign_and_nan_count_as_positive() -> None:
    assert pack_signs(np.array([0.0, -0.0, np.nan, -np.inf, -1e-45], np.float32)).tolist() == [0b11000]


@given(st.lists(st.sampled_from([-1, 1]), max_size=40))
def test_signs_come_back_as_they_were_packed(signs: list[int]) -> None:
    packed = pack_signs(np.array(signs, np.int8).reshape(1, -1))
    # Python's own integers agree on the bits.
    number = sum(1 << position for position, sign in enumerate(signs) if sign < 0)
    assert int.from_bytes(packed.tobytes(), "little") == number
    assert unpack_signs(packed, len(signs)).tolist() == [signs]


def test_a_size_that_the_bytes_do_not_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="9 signs take 2 bytes"):
        unpack_signs(np.zeros((3, 1), np.uint8), 9)
