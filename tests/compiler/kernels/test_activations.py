"""Activation functions agree with numpy over their whole range."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from edgeml.compiler.isa import VectorISA
from edgeml.compiler.kernels.activations import Activation, ActivationName
from edgeml.compiler.kernels.elementwise import Elementwise
from edgeml.compiler.kernels.epilogue import Epilogue
from tests.compiler.kernels import reference
from tests.compiler.kernels.machine import every_float_isa, packed, run

pytestmark = pytest.mark.tvm


@every_float_isa
@pytest.mark.parametrize("name", get_args(ActivationName))
def test_values_agree(isa: VectorISA, name: ActivationName) -> None:
    near = np.linspace(-12, 12, 4001)
    far = np.array([-1e4, -700.0, -100.0, -90.0, -60.0, -1e-3, -1e-6, 0.0, 1e-6, 1e-3, 60.0, 90.0, 100.0, 700.0, 1e4])
    values = np.concatenate([near, far]).astype(np.float32).reshape(1, 1, -1)
    epilogue = Epilogue((Activation(name, {"clip": -1.0, "leaky_relu": 0.1}.get(name, 0.0), 6.0),))
    layer = Elementwise(isa=isa, batch=1, pixels=(1,), channels=values.size, epilogue=epilogue)
    (output,) = run(layer.kernel(), isa, packed(values, isa))
    with np.errstate(over="ignore"):
        expected = reference.finished(values.astype(np.float64), epilogue)
    # What is below 1e-6 of the argument's own size does not matter to a network.
    np.testing.assert_allclose(output[..., : values.size], expected, rtol=2e-6, atol=1e-6)
