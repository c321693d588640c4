"""Convolutions in float32 agree with numpy up to the border of the image."""

from __future__ import annotations

import numpy as np
import pytest

from edgeml.compiler.isa import VectorISA
from edgeml.compiler.kernels.activations import RELU
from edgeml.compiler.kernels.convolution import Convolution
from edgeml.compiler.kernels.epilogue import Epilogue, Operand
from tests.compiler.kernels import reference
from tests.compiler.kernels.machine import HOST, Array, every_float_isa, packed, run
from tests.compiler.kernels.windowed import SQUARE, UNEVEN, WINDOWS

pytestmark = pytest.mark.tvm


def _outputs(layer: Convolution, batch: int) -> tuple[Array, Array]:
    generator = np.random.default_rng(layer.channels_in)
    shape = (batch, layer.rows.size_in, layer.columns.size_in, layer.channels_in)
    image = generator.standard_normal(shape).astype(np.float32)
    taps = (layer.channels_out, layer.channels_in // layer.groups, layer.rows.taps, layer.columns.taps)
    weights = generator.standard_normal(taps).astype(np.float32)
    bias = generator.standard_normal(layer.channels_out).astype(np.float32)
    sums = reference.convolution(image, weights, layer.rows, layer.columns, layer.groups) + bias
    operands = [
        generator.standard_normal(sums.shape).astype(np.float32)
        for step in layer.epilogue.steps
        if isinstance(step, Operand)
    ]
    expected = reference.finished(sums, layer.epilogue, operands)
    source = np.moveaxis(image, -1, 1) if layer.planar else packed(image, layer.isa)
    more = (packed(each, layer.isa) for each in operands)
    (output,) = run(layer.kernel(), layer.isa, source, *layer.pack(weights, bias), *more)
    return output[..., : layer.channels_out], expected


@every_float_isa
@pytest.mark.parametrize("planar", [False, True], ids=["", "planar"])
def test_sums_agree(isa: VectorISA, planar: bool) -> None:
    rows, columns = UNEVEN
    layer = Convolution(isa=isa, batch=None, rows=rows, columns=columns, channels_in=5, channels_out=35, planar=planar)
    output, expected = _outputs(layer, 2)
    np.testing.assert_allclose(output, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("window", WINDOWS)
def test_the_image_continues_with_zeros(window: str) -> None:
    rows, columns = WINDOWS[window]
    layer = Convolution(isa=HOST, batch=1, rows=rows, columns=columns, channels_in=6, channels_out=20)
    output, expected = _outputs(layer, 1)
    np.testing.assert_allclose(output, expected, rtol=1e-5, atol=1e-4)


@every_float_isa
def test_groups_see_their_own_channels_only(isa: VectorISA) -> None:
    rows, columns = SQUARE
    layer = Convolution(
        isa=isa, batch=1, rows=rows, columns=columns, channels_in=15, channels_out=6 * isa.lanes, groups=3
    )
    output, expected = _outputs(layer, 1)
    np.testing.assert_allclose(output, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("batch", [1, 3])
def test_a_residual_is_added_before_relu(batch: int) -> None:
    rows, columns = SQUARE
    epilogue = Epilogue((Operand("add"), RELU))
    layer = Convolution(
        isa=HOST, batch=None, rows=rows, columns=columns, channels_in=16, channels_out=32, epilogue=epilogue
    )
    output, expected = _outputs(layer, batch)
    np.testing.assert_allclose(output, expected, rtol=1e-5, atol=1e-4)
