"""Depthwise convolutions on 8-bit codes give the codes that integer arithmetic gives, up to the border of the image."""

from __future__ import annotations

import numpy as np
import pytest

from edgeml.compiler.isa import VectorISA
from edgeml.compiler.kernels.activations import Activation
from edgeml.compiler.kernels.epilogue import Epilogue, Operand, Quantization
from edgeml.compiler.kernels.window import Axis
from tests.compiler.kernels.machine import HOST, every_isa
from tests.compiler.kernels.windowed import INT8, OUT, SQUARE, UINT8, UNEVEN, WINDOWS, depthwise, outputs

pytestmark = pytest.mark.tvm


def _window(size: int, taps: int) -> tuple[Axis, Axis]:
    axis = Axis(size_in=size, taps=taps, pad_begin=taps // 2, pad_end=taps // 2)
    return axis, axis


@every_isa
@pytest.mark.parametrize("source", [UINT8, INT8], ids=["uint8", "int8"])
def test_codes_equal_integer_arithmetic(isa: VectorISA, source: Quantization) -> None:
    output, expected = outputs(depthwise(isa, UNEVEN, 21, batch=None, source=source), 2)
    assert expected.std() > 5
    np.testing.assert_array_equal(output, expected)


@every_isa
@pytest.mark.parametrize("window", WINDOWS)
def test_the_image_continues_with_its_zero_point(isa: VectorISA, window: str) -> None:
    output, expected = outputs(depthwise(isa, WINDOWS[window], 6), 1)
    np.testing.assert_array_equal(output, expected)


@pytest.mark.parametrize("taps", [4, 5, 7, 9, 11])
def test_windows_of_any_height_are_cut_into_words(taps: int) -> None:
    output, expected = outputs(depthwise(HOST, _window(20, taps), 20), 1)
    np.testing.assert_array_equal(output, expected)


@every_isa
def test_sums_beyond_float32_are_taken_in_integers(isa: VectorISA) -> None:
    axis = Axis(size_in=24, taps=24, pad_end=1)
    output, expected = outputs(depthwise(isa, (axis, axis), 4, epilogue=Epilogue()), 1)
    np.testing.assert_array_equal(output, expected)


@pytest.mark.parametrize("batch", [1, 3])
def test_a_residual_of_codes_is_added(batch: int) -> None:
    add = Operand("add", Quantization(2.0**-4, 9, "int8"))
    layer = depthwise(HOST, SQUARE, 40, batch=None, epilogue=Epilogue((Activation("clip", 0.0, 6.0), add), OUT))
    output, expected = outputs(layer, batch)
    np.testing.assert_array_equal(output, expected)
