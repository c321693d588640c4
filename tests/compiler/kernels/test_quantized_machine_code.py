"""Integer kernels for other processors are made of those processors' integer instructions, and call nothing."""

from __future__ import annotations

import re

import pytest

from edgeml.compiler.isa import AVX512_VNNI, NEON, NEON_ARMV7, NEON_DOT, VectorISA
from edgeml.compiler.kernels.epilogue import Epilogue, Quantization
from edgeml.compiler.kernels.prim_func import Kernel
from edgeml.compiler.kernels.quantized_pointwise import QuantizedPointwise
from edgeml.core.target import PRESETS, Target
from tests.compiler.kernels.machine import assembly
from tests.compiler.kernels.windowed import INT8, SQUARE, UINT8, convolution, depthwise

pytestmark = pytest.mark.tvm

TARGETS = {
    AVX512_VNNI: Target("llvm", triple="x86_64-linux-gnu", cpu="cascadelake"),
    NEON_DOT: PRESETS["rpi5"],
    NEON: PRESETS["rpi4"],
    NEON_ARMV7: PRESETS["rpi-armv7"],
}
PRODUCTS = {
    AVX512_VNNI: r"\tvpdpbusd\t",
    NEON_DOT: r"\tsdot\tv\d+\.4s, v\d+\.16b, v\d+\.4b\[\d\]",  # by a lane of a register: nothing is copied first
    NEON: r"\tsmull2?\tv\d+\.8h",
    NEON_ARMV7: r"\tvmull\.s8\t",
}
SUMS = {NEON: r"\tsadalp\tv\d+\.4s, v\d+\.8h", NEON_ARMV7: r"\tvpadal\.s16\t"}
FLOAT_PRODUCTS = {NEON: r"\tfmla\tv\d+\.4s", NEON_ARMV7: r"\tvm(la|ul)\.f32\tq"}
LIBRARY_CALL = r"\t(bl|call[lq]?)\t(?!__tvm|TVM|kernel|\*)\S+"

every_other = pytest.mark.parametrize("isa", TARGETS, ids=lambda isa: isa.name)
every_source = pytest.mark.parametrize("source", [UINT8, INT8], ids=["uint8", "int8"])


def _check(kernel: Kernel, isa: VectorISA, patterns: list[str]) -> None:
    code = assembly(kernel, TARGETS[isa])
    for pattern in patterns:
        assert len(re.findall(pattern, code)) >= 8, pattern
    assert not re.findall(LIBRARY_CALL, code)


def _patterns(isa: VectorISA) -> list[str]:
    return [PRODUCTS[isa], *([SUMS[isa]] if isa in SUMS else [])]


@every_other
@every_source
def test_a_1x1_convolution_multiplies_bytes(isa: VectorISA, source: Quantization) -> None:
    layer = QuantizedPointwise(
        isa=isa, batch=1, pixels=64, channels_in=64, channels_out=64, source=source, epilogue=Epilogue()
    )
    _check(layer.kernel(), isa, _patterns(isa))


@every_other
@every_source
def test_a_convolution_multiplies_bytes(isa: VectorISA, source: Quantization) -> None:
    _check(convolution(isa, SQUARE, 64, 64, source=source, epilogue=Epilogue()).kernel(), isa, _patterns(isa))


@every_other
def test_a_depthwise_convolution_takes_the_dot_product_where_there_is_one(isa: VectorISA) -> None:
    product = r"\tsdot\t" if isa is NEON_DOT else FLOAT_PRODUCTS.get(isa, PRODUCTS[isa])
    _check(depthwise(isa, SQUARE, 64, epilogue=Epilogue()).kernel(), isa, [product])


@every_other
def test_requantizing_calls_no_library(isa: VectorISA) -> None:
    out = Quantization(0.05, 3, "uint8")
    layer = QuantizedPointwise(
        isa=isa, batch=1, pixels=64, channels_in=64, channels_out=64, source=UINT8, epilogue=Epilogue((), out)
    )
    _check(layer.kernel(), isa, _patterns(isa))
