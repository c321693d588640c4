"""Tensors packed for the kernels come back as they were."""

from __future__ import annotations

import numpy as np
import pytest

from edgeml.compiler.isa import VectorISA
from edgeml.compiler.kernels.layout import Layout
from tests.compiler.kernels.machine import HOST, channels_last, every_float_isa, packed, run

pytestmark = pytest.mark.tvm


@every_float_isa
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_pack_moves_channels_last_and_unpack_moves_them_back(isa: VectorISA, dtype: str) -> None:
    _check(isa, dtype, 20, (11, 9))


@pytest.mark.parametrize("dtype", ["float32", "int8"])
@pytest.mark.parametrize(("channels", "pixels"), [(3, (5, 17)), (40, (1, 1)), (37, ())])
def test_any_shape_is_packed(dtype: str, channels: int, pixels: tuple[int, ...]) -> None:
    _check(HOST, dtype, channels, pixels)


def _check(isa: VectorISA, dtype: str, channels: int, pixels: tuple[int, ...]) -> None:
    model = np.random.default_rng(0).integers(-99, 99, (2, channels, *pixels)).astype(dtype)
    layout = Layout(isa=isa, batch=None, channels=channels, pixels=pixels, dtype=dtype)
    (output,) = run(layout.pack(), isa, model)
    expected = channels_last(model)
    np.testing.assert_array_equal(output[..., :channels], expected)
    np.testing.assert_array_equal(output[..., channels:], 0)
    (back,) = run(layout.unpack(), isa, packed(expected, isa))
    np.testing.assert_array_equal(back, model)
