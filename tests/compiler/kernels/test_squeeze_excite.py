"""Squeeze-and-excitation's gates agree with numpy."""

from __future__ import annotations

import numpy as np
import pytest

from edgeml.compiler.isa import VectorISA
from edgeml.compiler.kernels.activations import Activation
from edgeml.compiler.kernels.squeeze_excite import SqueezeExcite
from tests.compiler.kernels import reference
from tests.compiler.kernels.machine import every_float_isa, packed, run

pytestmark = pytest.mark.tvm


@every_float_isa
@pytest.mark.parametrize(("channels", "reduced"), [(96, 4), (41, 10), (3, 1)])
def test_gates_agree(isa: VectorISA, channels: int, reduced: int) -> None:
    generator = np.random.default_rng(channels)
    shapes = (2, channels), (reduced, channels), (reduced,), (channels, reduced), (channels,)
    means, weights1, bias1, weights2, bias2 = (generator.standard_normal(each).astype(np.float32) for each in shapes)
    layer = SqueezeExcite(
        isa=isa,
        batch=None,
        channels=channels,
        reduced=reduced,
        first=Activation("silu"),
        second=Activation("hard_sigmoid"),
    )
    (gates,) = run(layer.kernel(), isa, packed(means, isa), *layer.pack(weights1, bias1, weights2, bias2))
    hidden = reference.activation("silu", means.astype(np.float64) @ weights1.T + bias1)
    expected = reference.activation("hard_sigmoid", hidden @ weights2.T.astype(np.float64) + bias2)
    np.testing.assert_allclose(gates[:, :channels], expected, rtol=1e-5, atol=1e-5)
