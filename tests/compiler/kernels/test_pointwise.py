"""1x1 convolutions and dense layers in float32 agree with numpy."""

from __future__ import annotations

import numpy as np
import pytest

from edgeml.compiler.isa import VectorISA
from edgeml.compiler.kernels.activations import Activation
from edgeml.compiler.kernels.epilogue import Epilogue, Operand
from edgeml.compiler.kernels.pointwise import Pointwise
from tests.compiler.kernels import reference
from tests.compiler.kernels.machine import HOST, Array, every_float_isa, packed, run

pytestmark = pytest.mark.tvm


def _outputs(layer: Pointwise, batch: int) -> tuple[Array, Array]:
    generator = np.random.default_rng(layer.channels_in)
    image = generator.standard_normal((batch, layer.pixels, layer.channels_in)).astype(np.float32)
    weights = generator.standard_normal((layer.channels_out, layer.channels_in)).astype(np.float32)
    bias = generator.standard_normal(layer.channels_out).astype(np.float32)
    gates = [generator.random((batch, layer.channels_in)).astype(np.float32)] if layer.gated else []
    gated = image.astype(np.float64) * gates[0][:, None] if gates else image.astype(np.float64)
    sums = np.einsum("npk,ok->npo", gated, weights.astype(np.float64)) + bias
    operands = [
        generator.standard_normal(sums.shape).astype(np.float32)
        for step in layer.epilogue.steps
        if isinstance(step, Operand)
    ]
    expected = reference.finished(sums, layer.epilogue, operands)
    more = (packed(each, layer.isa) for each in (*gates, *operands))
    (output,) = run(layer.kernel(), layer.isa, packed(image, layer.isa), *layer.pack(weights, bias), *more)
    return output[..., : layer.channels_out], expected


@every_float_isa
@pytest.mark.parametrize("gated", [False, True], ids=["", "gated"])
@pytest.mark.parametrize(
    ("batch", "pixels", "depth", "outputs"), [(1, 23, 41, 50), (None, 1, 65, 33), (None, 100, 3, 5), (2, 9, 16, 130)]
)
def test_sums_agree(isa: VectorISA, gated: bool, batch: int | None, pixels: int, depth: int, outputs: int) -> None:
    layer = Pointwise(isa=isa, batch=batch, pixels=pixels, channels_in=depth, channels_out=outputs, gated=gated)
    output, expected = _outputs(layer, batch or 3)
    np.testing.assert_allclose(output, expected, rtol=1e-5, atol=1e-5 * depth)


def test_activations_and_residuals_follow_in_order() -> None:
    epilogue = Epilogue((Activation("silu"), Operand("add"), Activation("clip", 0.0), Operand("multiply")))
    layer = Pointwise(isa=HOST, batch=None, pixels=10, channels_in=20, channels_out=40, epilogue=epilogue)
    output, expected = _outputs(layer, 2)
    np.testing.assert_allclose(output, expected, rtol=1e-5, atol=1e-5)
