"""1x1 convolutions and dense layers on 8-bit codes give the codes that integer arithmetic gives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from edgeml.compiler.isa import VectorISA
from edgeml.compiler.kernels.activations import Activation
from edgeml.compiler.kernels.epilogue import Epilogue, Operand, Quantization, Requantize
from edgeml.compiler.kernels.quantized_pointwise import QuantizedPointwise
from tests.compiler.kernels import reference
from tests.compiler.kernels.machine import HOST, Array, every_isa, packed, run

pytestmark = pytest.mark.tvm

UINT8 = Quantization(2.0**-5, 77, "uint8")
INT8 = Quantization(2.0**-5, -19, "int8")
OUT = Quantization(2.0**-3, 131, "uint8")
RELU6 = Activation("clip", 0.0, 6.0)


@dataclass(frozen=True)
class Case:
    """A layer with random contents; scales are powers of two, so that float32 arithmetic has nothing to round."""

    layer: QuantizedPointwise
    batch: int
    seed: int = 0

    def outputs(self) -> tuple[Array, Array]:
        """What the kernel writes, padding left out, and what numpy says."""
        layer, generator = self.layer, np.random.default_rng(self.seed)
        source, bounds = layer.source, np.iinfo(layer.source.dtype)
        shape = (self.batch, layer.pixels, layer.channels_in)
        image = generator.integers(bounds.min, bounds.max + 1, shape).astype(source.dtype)
        weights = generator.integers(-128, 128, (layer.channels_out, layer.channels_in)).astype(np.int8)
        scales = (2.0 ** generator.integers(-10, -7, layer.channels_out)).astype(np.float32)
        bias = (generator.integers(-(2**10), 2**10, layer.channels_out) * 2.0**-8).astype(np.float32)
        sums = np.einsum("npk,ok->npo", image.astype(np.int64) - source.zero_point, weights.astype(np.int64))
        assert abs(sums).max() < 2**24
        operands = [
            reference.codes(generator.standard_normal(sums.shape), step.quantization)
            if step.quantization
            else generator.integers(-9, 9, sums.shape).astype(np.float32)
            for step in layer.epilogue.steps
            if isinstance(step, Operand)
        ]
        expected = reference.finished(sums * (scales * source.scale) + bias, layer.epilogue, operands)
        arrays = (packed(image, layer.isa), *layer.pack(weights, scales, bias))
        (output,) = run(layer.kernel(), layer.isa, *arrays, *(packed(each, layer.isa) for each in operands))
        return output[..., : layer.channels_out], expected


@every_isa
@pytest.mark.parametrize("source", [UINT8, INT8], ids=["uint8", "int8"])
@pytest.mark.parametrize(
    ("batch", "pixels", "depth", "outputs"), [(1, 23, 41, 50), (None, 1, 65, 33), (None, 4, 3, 5), (2, 9, 16, 130)]
)
def test_codes_equal_integer_arithmetic(
    isa: VectorISA, source: Quantization, batch: int | None, pixels: int, depth: int, outputs: int
) -> None:
    layer = QuantizedPointwise(
        isa=isa,
        batch=batch,
        pixels=pixels,
        channels_in=depth,
        channels_out=outputs,
        source=source,
        epilogue=Epilogue((), OUT),
    )
    output, expected = Case(layer, batch or 3).outputs()
    assert expected.std() > 5
    np.testing.assert_array_equal(output, expected)


@pytest.mark.parametrize(
    "epilogue",
    [
        Epilogue(),
        Epilogue((RELU6,), Quantization(2.0**-6, -128, "int8")),
        Epilogue((Requantize(Quantization(2.0**-2, 3, "int8")), RELU6)),
        Epilogue((Operand("add", Quantization(2.0**-5, 100, "uint8")), RELU6), OUT),
        Epilogue((Requantize(OUT), Operand("add", Quantization(2.0**-4, -5, "int8"))), Quantization(0.25, 0, "int8")),
        Epilogue((Operand("add"),), OUT),
    ],
    ids=["float32", "relu6 int8", "requantize", "add uint8", "requantize add int8", "add float32"],
)
def test_every_epilogue_is_exact_on_codes(epilogue: Epilogue) -> None:
    layer = QuantizedPointwise(
        isa=HOST, batch=None, pixels=10, channels_in=20, channels_out=40, source=UINT8, epilogue=epilogue
    )
    output, expected = Case(layer, 2).outputs()
    assert output.dtype == epilogue.dtype
    np.testing.assert_array_equal(output, expected)


def test_silu_before_the_code_is_off_only_between_two_codes() -> None:
    layer = QuantizedPointwise(
        isa=HOST,
        batch=1,
        pixels=30,
        channels_in=40,
        channels_out=40,
        source=UINT8,
        epilogue=Epilogue((Activation("silu"),), OUT),
    )
    output, expected = Case(layer, 1).outputs()
    difference = abs(output.astype(int) - expected)
    assert difference.max() <= 1
    assert difference.mean() < 0.01


def test_arbitrary_scales_round_to_the_nearest_code() -> None:
    generator = np.random.default_rng(7)
    source, out = Quantization(0.0173, 120, "uint8"), Quantization(0.0471, 3, "uint8")
    layer = QuantizedPointwise(
        isa=HOST, batch=1, pixels=50, channels_in=60, channels_out=70, source=source, epilogue=Epilogue((), out)
    )
    image = generator.integers(0, 256, (1, 50, 60)).astype(np.uint8)
    weights = generator.integers(-127, 128, (70, 60)).astype(np.int8)
    scales, bias = (generator.random(70) * 0.005).astype(np.float32), generator.standard_normal(70).astype(np.float32)
    (output,) = run(layer.kernel(), HOST, packed(image, HOST), *layer.pack(weights, scales, bias))
    sums = np.einsum("npk,ok->npo", image.astype(np.float64) - 120, weights.astype(np.float64))
    exact = np.clip((sums * (scales.astype(np.float64) * source.scale) + bias) / out.scale + 3, 0, 255)
    assert abs(output[..., :70] - exact).max() < 0.5 + 1e-4


def test_a_layer_without_bias_adds_nothing() -> None:
    layer = QuantizedPointwise(isa=HOST, batch=1, pixels=2, channels_in=4, channels_out=3, source=UINT8)
    weights, scales = np.ones((3, 4), np.int8), np.ones(3, np.float32)
    image = np.full((1, 2, 4), UINT8.zero_point, np.uint8)
    (output,) = run(layer.kernel(), HOST, packed(image, HOST), *layer.pack(weights, scales, None))
    np.testing.assert_array_equal(output[..., :3], 0)
