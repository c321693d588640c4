"""Maximum, average and global pooling agree with numpy, on float32 and on codes."""

from __future__ import annotations

import numpy as np
import pytest

from edgeml.compiler.isa import VectorISA
from edgeml.compiler.kernels.epilogue import Quantization
from edgeml.compiler.kernels.pooling import GlobalAverage, Pooling
from edgeml.compiler.kernels.window import Axis
from tests.compiler.kernels import reference
from tests.compiler.kernels.machine import HOST, every_float_isa, packed, run

pytestmark = pytest.mark.tvm

ROWS = Axis(size_in=11, taps=3, stride=2, pad_begin=1, pad_end=1)
COLUMNS = Axis(size_in=9, taps=2, stride=1, pad_begin=1, pad_end=0)
SHAPE = (2, 11, 9, 20)


def _pooling(isa: VectorISA, operator: str, **options: object) -> Pooling:
    return Pooling(isa=isa, batch=None, rows=ROWS, columns=COLUMNS, channels=20, operator=operator, **options)  # type: ignore[arg-type]


@every_float_isa
def test_the_maximum_ignores_what_is_outside(isa: VectorISA) -> None:
    image = np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32) - 9
    (output,) = run(_pooling(isa, "max").kernel(), isa, packed(image, isa))
    expected = reference.windows(image, ROWS, COLUMNS, -np.inf).max((-1, -2))
    np.testing.assert_array_equal(output[..., :20], expected)


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_the_maximum_of_codes_is_a_code(dtype: str) -> None:
    bounds = np.iinfo(dtype)
    image = np.random.default_rng(0).integers(bounds.min, bounds.max + 1, SHAPE).astype(dtype)
    (output,) = run(_pooling(HOST, "max", dtype=dtype).kernel(), HOST, packed(image, HOST))
    expected = reference.windows(image, ROWS, COLUMNS, bounds.min).max((-1, -2))
    np.testing.assert_array_equal(output[..., :20], expected)


@every_float_isa
@pytest.mark.parametrize("count_padding", [False, True])
def test_the_average_counts_padding_if_asked(isa: VectorISA, count_padding: bool) -> None:
    image = np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)
    layer = _pooling(isa, "average", count_padding=count_padding)
    (output,) = run(layer.kernel(), isa, packed(image, isa))
    windows = reference.windows(image.astype(np.float64), ROWS, COLUMNS, 0.0 if count_padding else np.nan)
    np.testing.assert_allclose(output[..., :20], np.nanmean(windows, (-1, -2)), rtol=1e-5, atol=1e-6)


@every_float_isa
def test_the_global_average_agrees(isa: VectorISA) -> None:
    image = np.random.default_rng(0).standard_normal((3, 49, 20)).astype(np.float32)
    layer = GlobalAverage(isa=isa, batch=None, pixels=49, channels=20)
    (output,) = run(layer.kernel(), isa, packed(image, isa))
    np.testing.assert_allclose(output[..., :20], image.mean(1, dtype=np.float64), rtol=1e-5, atol=1e-6)


def test_the_global_average_of_codes_is_of_what_they_stand_for() -> None:
    quantization = Quantization(0.1, -7, "int8")
    image = np.random.default_rng(0).integers(-128, 128, (2, 5, 20)).astype(np.int8)
    layer = GlobalAverage(isa=HOST, batch=2, pixels=5, channels=20, quantization=quantization)
    (output,) = run(layer.kernel(), HOST, packed(image, HOST))
    expected = reference.real(image, quantization).mean(1)
    np.testing.assert_allclose(output[..., :20], expected, rtol=1e-5, atol=1e-5)
