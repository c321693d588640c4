"""Pointwise arithmetic on packed tensors agrees with numpy."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from edgeml.compiler.isa import VectorISA
from edgeml.compiler.kernels.elementwise import Elementwise
from edgeml.compiler.kernels.epilogue import Epilogue, Operand, Operator, Quantization, Scalar
from tests.compiler.kernels import reference
from tests.compiler.kernels.machine import HOST, every_float_isa, packed, run

pytestmark = pytest.mark.tvm


@every_float_isa
def test_operators_agree(isa: VectorISA) -> None:
    generator = np.random.default_rng(0)
    operators = get_args(Operator)
    tensors = [generator.uniform(0.5, 2.0, (2, 3, 4, 21)).astype(np.float32) for _ in range(1 + len(operators))]
    steps = [step for operator in operators for step in (Operand(operator), Scalar(operator, 1.25))]
    layer = Elementwise(isa=isa, batch=None, pixels=(3, 4), channels=21, epilogue=Epilogue(tuple(steps)))
    (output,) = run(layer.kernel(), isa, *(packed(each, isa) for each in tensors))
    expected = reference.finished(tensors[0].astype(np.float64), layer.epilogue, tensors[1:])
    np.testing.assert_allclose(output[..., :21], expected, rtol=1e-5)


def test_operands_of_a_sample_and_of_a_channel_are_spread() -> None:
    generator = np.random.default_rng(0)
    values = generator.standard_normal((3, 4, 5, 21)).astype(np.float32)
    gate, shift = generator.random((3, 21)).astype(np.float32), generator.random(21).astype(np.float32)
    steps = Operand("multiply", extent="sample"), Operand("add", extent="channel")
    layer = Elementwise(isa=HOST, batch=None, pixels=(4, 5), channels=21, epilogue=Epilogue(steps))
    (output,) = run(layer.kernel(), HOST, *(packed(each, HOST) for each in (values, gate, shift)))
    expected = values * gate[:, None, None] + shift
    np.testing.assert_allclose(output[..., :21], expected, rtol=1e-5, atol=1e-6)


@every_float_isa
def test_codes_are_added_as_what_they_stand_for(isa: VectorISA) -> None:
    left, right = Quantization(2.0**-4, 100, "uint8"), Quantization(2.0**-5, -30, "int8")
    out = Quantization(2.0**-3, 128, "uint8")
    generator = np.random.default_rng(0)
    codes = [reference.codes(generator.standard_normal((2, 6, 21)) * 3, each) for each in (left, right)]
    layer = Elementwise(
        isa=isa,
        batch=2,
        pixels=(6,),
        channels=21,
        epilogue=Epilogue((Operand("add", right),), out),
        quantization=left,
    )
    (output,) = run(layer.kernel(), isa, *(packed(each, isa) for each in codes))
    expected = reference.finished(reference.real(codes[0], left), layer.epilogue, codes[1:])
    np.testing.assert_array_equal(output[..., :21], expected)


@every_float_isa
@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_halves_round_to_even_and_large_values_saturate(isa: VectorISA, dtype: str) -> None:
    out = Quantization(0.5, 3, dtype)  # type: ignore[arg-type]
    values = np.concatenate([np.arange(-300, 300, 0.25), [1e9, -1e9, 3e38, -3e38]]).astype(np.float32).reshape(1, 1, -1)
    layer = Elementwise(isa=isa, batch=1, pixels=(1,), channels=values.size, epilogue=Epilogue((), out))
    (output,) = run(layer.kernel(), isa, packed(values, isa))
    np.testing.assert_array_equal(output[..., : values.size], reference.codes(values.astype(np.float64), out))
