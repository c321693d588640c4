"""Depthwise convolutions in float32, and the means they give along, agree with numpy."""

from __future__ import annotations

import numpy as np
import pytest

from edgeml.compiler.isa import VectorISA
from edgeml.compiler.kernels.activations import Activation
from edgeml.compiler.kernels.depthwise import Depthwise
from edgeml.compiler.kernels.epilogue import Epilogue
from tests.compiler.kernels import reference
from tests.compiler.kernels.machine import HOST, Array, every_float_isa, packed, run
from tests.compiler.kernels.windowed import UNEVEN, WINDOWS

pytestmark = pytest.mark.tvm


def _outputs(layer: Depthwise, batch: int) -> tuple[list[Array], Array]:
    generator, channels = np.random.default_rng(layer.channels), layer.channels
    shape = (batch, layer.rows.size_in, layer.columns.size_in, channels)
    image = generator.standard_normal(shape).astype(np.float32)
    weights = generator.standard_normal((channels, 1, layer.rows.taps, layer.columns.taps)).astype(np.float32)
    bias = generator.standard_normal(channels).astype(np.float32)
    sums = reference.convolution(image, weights, layer.rows, layer.columns, channels) + bias
    arrays = (packed(image, layer.isa), *layer.pack(weights, bias))
    outputs = [each[..., :channels] for each in run(layer.kernel(), layer.isa, *arrays)]
    return outputs, reference.finished(sums, layer.epilogue)


@every_float_isa
@pytest.mark.parametrize("batch", [1, 3])
def test_sums_and_their_means_agree(isa: VectorISA, batch: int) -> None:
    rows, columns = UNEVEN
    layer = Depthwise(
        isa=isa,
        batch=None,
        rows=rows,
        columns=columns,
        channels=21,
        epilogue=Epilogue((Activation("silu"),)),
        pooled=True,
    )
    (output, means), expected = _outputs(layer, batch)
    np.testing.assert_allclose(output, expected, rtol=1e-5, atol=2e-5)
    np.testing.assert_allclose(means, expected.mean((1, 2)), rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("window", WINDOWS)
def test_the_image_continues_with_zeros(window: str) -> None:
    rows, columns = WINDOWS[window]
    (output,), expected = _outputs(Depthwise(isa=HOST, batch=1, rows=rows, columns=columns, channels=6), 1)
    np.testing.assert_allclose(output, expected, rtol=1e-5, atol=2e-5)
