"""Convolutions on 8-bit codes give the codes that integer arithmetic gives, up to the border of the image."""

from __future__ import annotations

import numpy as np
import pytest

from edgeml.compiler.isa import VectorISA
from edgeml.compiler.kernels.activations import Activation
from edgeml.compiler.kernels.epilogue import Epilogue, Operand, Quantization
from tests.compiler.kernels.machine import HOST, every_isa
from tests.compiler.kernels.windowed import INT8, OUT, SQUARE, UINT8, UNEVEN, WINDOWS, convolution, outputs

pytestmark = pytest.mark.tvm


@every_isa
@pytest.mark.parametrize("source", [UINT8, INT8], ids=["uint8", "int8"])
def test_codes_equal_integer_arithmetic(isa: VectorISA, source: Quantization) -> None:
    output, expected = outputs(convolution(isa, UNEVEN, 21, 35, batch=None, source=source), 2)
    assert expected.std() > 5
    np.testing.assert_array_equal(output, expected)


@pytest.mark.parametrize("window", WINDOWS)
def test_the_image_continues_with_its_zero_point(window: str) -> None:
    output, expected = outputs(convolution(HOST, WINDOWS[window], 6, 20), 1)
    np.testing.assert_array_equal(output, expected)


@every_isa
@pytest.mark.parametrize("depth", [1, 2, 3, 5, 8])
def test_groups_begin_anywhere_in_a_word_of_codes(isa: VectorISA, depth: int) -> None:
    groups = 3
    layer = convolution(isa, SQUARE, groups * depth, groups * isa.lanes * 2, groups=groups)
    output, expected = outputs(layer, 1)
    np.testing.assert_array_equal(output, expected)


def test_the_groups_of_one_word_read_nothing_beyond_the_image() -> None:
    layer = convolution(HOST, SQUARE, HOST.lanes * 2, HOST.lanes * HOST.lanes, groups=HOST.lanes)
    output, expected = outputs(layer, 1)
    np.testing.assert_array_equal(output, expected)


@pytest.mark.parametrize("batch", [1, 3])
def test_a_residual_of_codes_is_added(batch: int) -> None:
    add = Operand("add", Quantization(2.0**-4, 9, "uint8"))
    layer = convolution(HOST, SQUARE, 16, 32, batch=None, epilogue=Epilogue((add, Activation("clip", 0.0)), OUT))
    output, expected = outputs(layer, batch)
    np.testing.assert_array_equal(output, expected)


def test_a_first_layer_of_three_channels_writes_float32() -> None:
    layer = convolution(HOST, SQUARE, 3, 40, epilogue=Epilogue())
    output, expected = outputs(layer, 1)
    assert output.dtype == np.float32
    np.testing.assert_array_equal(output, expected)
