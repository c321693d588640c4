"""Binary convolutions count exactly what the operator's numpy reference counts, on every vector unit that runs here."""

from __future__ import annotations

import re

import numpy as np
import pytest

from edgeml.compiler.isa import AVX2, AVX512_VPOPCNTDQ, NEON, NEON_ARMV7, VectorISA
from edgeml.compiler.kernels.activations import Activation
from edgeml.compiler.kernels.epilogue import Epilogue, Operand
from edgeml.core.target import PRESETS, Target
from tests.compiler.kernels.binary import Geometry, random_case, random_geometry
from tests.compiler.kernels.machine import assembly, build_many, every_isa, packed, run, target_of

pytestmark = pytest.mark.tvm

GEOMETRIES = {
    "a whole word": Geometry(32, 16),
    "several words": Geometry(96, 40, pads=(0, 1, 2, 0)),
    "words counted in a loop": Geometry(260, 17, size=(3, 3)),
    "more words than a byte can count": Geometry(1100, 5, kernel_shape=(1, 1), size=(2, 3), pads=(0, 0, 0, 0)),
    "an odd number of channels": Geometry(19, 7),
    "groups of whole words": Geometry(64, 64, 2),
    "groups that share words": Geometry(72, 48, 3),
    "one channel a group": Geometry(40, 40, 40),
    "two filters for each channel": Geometry(6, 12, 6),
    "windows wholly outside": Geometry(9, 9, size=(2, 3), pads=(4, 3, 5, 4)),
    "stride and dilation": Geometry(33, 20, size=(9, 12), strides=(2, 3), dilations=(3, 2)),
    "an even window": Geometry(16, 16, kernel_shape=(2, 4), pads=(0, 2, 1, 1)),
}


@every_isa
def test_counts_are_exact(isa: VectorISA) -> None:
    generator = np.random.default_rng(0)
    cases = {name: random_case(geometry, generator, batch=2) for name, geometry in GEOMETRIES.items()}
    library = build_many([kernel for case in cases.values() for kernel in case.geometry.kernels(isa)], target_of(isa))
    for index, (name, case) in enumerate(cases.items()):
        thresholds, constants = case.constants(isa)
        bits = library.run(2 * index, case.image(isa), thresholds)
        output = library.run(2 * index + 1, bits, *constants)
        np.testing.assert_array_equal(output[..., : case.geometry.filters], case.expected, err_msg=name)


@every_isa
def test_counts_of_random_convolutions_are_exact(isa: VectorISA) -> None:
    generator = np.random.default_rng(1)
    geometries = [random_geometry(generator) for _ in range(6)]
    library = build_many([kernel for each in geometries for kernel in each.kernels(isa)], target_of(isa))
    for index, geometry in enumerate(geometries):
        for _ in range(5):
            case = random_case(geometry, generator, batch=int(generator.integers(1, 3)))
            thresholds, constants = case.constants(isa)
            bits = library.run(2 * index, case.image(isa), thresholds)
            output = library.run(2 * index + 1, bits, *constants)
            np.testing.assert_array_equal(output[..., : geometry.filters], case.expected, err_msg=str(geometry))


@every_isa
def test_bits_beyond_the_last_channel_are_zero_whatever_the_padding_holds(isa: VectorISA) -> None:
    geometry = Geometry(35, 1, size=(2, 2))
    case = random_case(geometry, np.random.default_rng(0))
    image = case.image(isa)
    image[..., 35:] = -np.inf
    (bits,) = run(geometry.sign_bits(isa).kernel(), isa, image, case.constants(isa)[0])
    found = np.unpackbits(bits.astype("<u4").view(np.uint8), axis=-1, bitorder="little")
    np.testing.assert_array_equal(found[..., :35], np.moveaxis(case.x, 1, -1) < case.threshold)
    assert not found[..., 35:].any()


@every_isa
def test_residual_and_activation_follow_in_the_same_kernel(isa: VectorISA) -> None:
    epilogue = Epilogue((Operand("add"), Activation("clip", 0.0, 40.0)))
    geometry, generator = Geometry(20, 37), np.random.default_rng(0)
    case = random_case(geometry, generator)
    other = generator.integers(-50, 50, case.expected.shape).astype(np.float32)
    thresholds, constants = case.constants(isa)
    (bits,) = run(geometry.sign_bits(isa).kernel(), isa, case.image(isa), thresholds)
    kernel = geometry.convolution(isa, epilogue=epilogue).kernel()
    (output,) = run(kernel, isa, bits, *constants, packed(other, isa))
    np.testing.assert_array_equal(output[..., :37], np.clip(case.expected + other, 0, 40))


LIBRARY_CALL = r"\t(bl|call[lq]?)\t(?!__tvm|TVM|kernel|\*)\S+"
TARGETS = {
    AVX512_VPOPCNTDQ: Target("llvm", triple="x86_64-linux-gnu", cpu="icelake-server"),
    AVX2: Target("llvm", triple="x86_64-linux-gnu", cpu="haswell"),
    NEON: PRESETS["rpi4"],
    NEON_ARMV7: PRESETS["rpi-armv7"],
}
COUNTING = {
    AVX512_VPOPCNTDQ: [r"\tvpopcntd\t%zmm"],
    AVX2: [r"\tvpshufb\t%ymm"],
    NEON: [r"\tcnt\tv\d+\.16b", r"\tuadalp\tv\d+\.4s"],
    NEON_ARMV7: [r"\tvcnt\.8\tq", r"\tvpadal\.u16\tq"],
}
COMPARING = {
    AVX512_VPOPCNTDQ: r"\tvcmp\w+\t.*%k",
    AVX2: r"\tvmovmskps\t%ymm",
    NEON: r"\tfcmgt\tv\d+\.4s",
    NEON_ARMV7: r"\tvcgt\.f32\tq",
}


@pytest.mark.parametrize("isa", TARGETS, ids=lambda isa: isa.name)
def test_bits_are_counted_by_instructions_made_for_it(isa: VectorISA) -> None:
    code = assembly(Geometry(256, 64, size=(14, 14)).convolution(isa, 1).kernel(), TARGETS[isa])
    for pattern in COUNTING[isa]:
        assert len(re.findall(pattern, code)) >= 8, pattern
    assert not re.findall(LIBRARY_CALL, code)


@pytest.mark.parametrize("isa", TARGETS, ids=lambda isa: isa.name)
def test_signs_are_compared_by_whole_registers(isa: VectorISA) -> None:
    code = assembly(Geometry(256, 64).sign_bits(isa, 1).kernel(), TARGETS[isa])
    assert len(re.findall(COMPARING[isa], code)) >= 2
    assert not re.findall(LIBRARY_CALL, code)
