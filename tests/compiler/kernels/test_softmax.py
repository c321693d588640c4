"""Softmax agrees with numpy; channels that are padding take no part."""

from __future__ import annotations

import numpy as np
import pytest

from edgeml.compiler.isa import VectorISA
from edgeml.compiler.kernels.softmax import Softmax
from tests.compiler.kernels.machine import every_float_isa, packed, run

pytestmark = pytest.mark.tvm


@every_float_isa
@pytest.mark.parametrize(("pixels", "channels"), [((), 1000), ((3, 2), 21), ((), 1)])
def test_probabilities_agree(isa: VectorISA, pixels: tuple[int, ...], channels: int) -> None:
    logits = np.random.default_rng(channels).standard_normal((2, *pixels, channels)).astype(np.float32) * 20
    layer = Softmax(isa=isa, batch=None, pixels=pixels, channels=channels)
    (output,) = run(layer.kernel(), isa, packed(logits, isa))
    powers = np.exp(logits.astype(np.float64) - logits.max(-1, keepdims=True))
    np.testing.assert_allclose(output[..., :channels], powers / powers.sum(-1, keepdims=True), rtol=1e-4, atol=1e-12)
