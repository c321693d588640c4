"""Binary kernels compiled for ARM count, on the emulated machine, what the operator's numpy reference counts."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from edgeml.compiler.isa import NEON, VectorISA
from edgeml.compiler.toolchains import linker
from edgeml.core.target import PRESETS
from edgeml.runtime.emulated.machine import emulated_machine
from tests.compiler.kernels.binary import random_case, random_geometry
from tests.compiler.kernels.machine import Array, build_many

pytestmark = [pytest.mark.tvm, pytest.mark.qemu]

TARGET = PRESETS["cortex-a72"]

# Runs both kernels of each convolution on every case that lies beside the library; prints the cases that differ.
RUNNER = """
import ctypes, glob, sys
import numpy as np, tvm_ffi
ctypes.CDLL(glob.glob(sys.argv[1] + "/tvm/**/libtvm_runtime.so", recursive=True)[0], ctypes.RTLD_GLOBAL)
library = tvm_ffi.load_module(sys.argv[2] + "/kernels.so")
as_tensor, done = tvm_ffi.from_dlpack, 0
for index in range(int(sys.argv[3])):
    signs, convolution = library[f"kernel{2 * index}"], library[f"kernel{2 * index + 1}"]
    with np.load(f"{sys.argv[2]}/{index}.npz") as file:
        arrays = [file[f"arr_{position}"] for position in range(len(file.files))]
    image, thresholds, *constants, expected, bits, output = arrays
    for case in range(len(image)):
        inputs = [np.ascontiguousarray(each[case]) for each in (image, thresholds, *constants)]
        signs(as_tensor(inputs[0]), as_tensor(inputs[1]), as_tensor(bits))
        convolution(as_tensor(bits), *map(as_tensor, inputs[2:]), as_tensor(output))
        if not np.array_equal(output[..., : expected.shape[-1]], expected[case]):
            print("differs:", index, case)
        done += 1
print("cases:", done)
"""


def counts_agree(isa: VectorISA, directory: Path, *, geometries: int, contents: int) -> None:
    """Compile random convolutions and run each on several random contents."""
    generator, machine = np.random.default_rng(geometries), emulated_machine()
    layers = [random_geometry(generator) for _ in range(geometries)]
    library = build_many([kernel for each in layers for kernel in each.kernels(isa)], TARGET)
    library.module.export_library(str(directory / "kernels.so"), fcompile=linker(TARGET).fcompile())
    for index, geometry in enumerate(layers):
        cases = [random_case(geometry, generator) for _ in range(contents)]
        packed = [(case.image(isa), *_flat(case.constants(isa)), case.expected) for case in cases]
        shapes = [[axis or 1 for axis in each.outputs[0].shape] for each in geometry.kernels(isa)]
        buffers = np.full(shapes[0], 99, np.uint32), np.full(shapes[1], 99, np.float32)
        np.savez(directory / str(index), *map(np.stack, zip(*packed, strict=True)), *buffers)
    command = machine.python_command("-c", RUNNER, machine.packages, directory, str(geometries), cpu=TARGET.cpu)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    differing = [line for line in done.stdout.splitlines() if line.startswith("differs")]
    assert not differing, [(line, layers[int(line.split()[1])]) for line in differing[:3]]
    assert f"cases: {geometries * contents}" in done.stdout


def _flat(constants: tuple[Array, tuple[Array, ...]]) -> tuple[Array, ...]:
    return (constants[0], *constants[1])


def test_counts_of_random_convolutions_are_exact(tmp_path: Path) -> None:
    counts_agree(NEON, tmp_path, geometries=15, contents=20)


@pytest.mark.slow
def test_counts_of_ten_thousand_random_convolutions_are_exact(tmp_path: Path) -> None:
    """More than 400 geometries of 25 contents each, in parts that the compiler takes at once."""
    for part in range(8):
        directory = tmp_path / str(part)
        directory.mkdir()
        counts_agree(NEON, directory, geometries=50 + part, contents=25)
