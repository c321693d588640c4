"""Integer kernels compiled for ARM write, on the emulated machine, the codes that integer arithmetic gives."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from edgeml.compiler.isa import NEON, NEON_DOT, VectorISA
from edgeml.compiler.kernels.activations import Activation
from edgeml.compiler.kernels.epilogue import Epilogue, Operand, Quantization
from edgeml.compiler.toolchains import linker
from edgeml.compiler.tvm_target import tvm_target
from edgeml.core.target import PRESETS
from edgeml.runtime.emulated.machine import emulated_machine
from tests.compiler.kernels.windowed import INT8, OUT, SQUARE, UINT8, UNEVEN, Layer, convolution, depthwise, problem

pytestmark = [pytest.mark.tvm, pytest.mark.qemu]

TARGETS = {NEON: PRESETS["cortex-a72"], NEON_DOT: PRESETS["cortex-a76"]}

# Runs each kernel of a library on the arrays that lie beside it.
RUNNER = """
import ctypes, glob, sys
import numpy as np, tvm_ffi
ctypes.CDLL(glob.glob(sys.argv[1] + "/tvm/**/libtvm_runtime.so", recursive=True)[0], ctypes.RTLD_GLOBAL)
library = tvm_ffi.load_module(sys.argv[2] + "/kernels.so")
for index in range(int(sys.argv[3])):
    with np.load(f"{sys.argv[2]}/{index}.npz") as file:
        arrays = [file[f"arr_{position}"] for position in range(len(file.files))]
    library[f"kernel{index}"](*map(tvm_ffi.from_dlpack, arrays))
    np.save(f"{sys.argv[2]}/{index}.npy", arrays[-1])
"""


def _layers(isa: VectorISA) -> list[Layer]:
    add = Epilogue((Operand("add", Quantization(2.0**-4, 9, "uint8")), Activation("clip", 0.0, 6.0)), OUT)
    return [
        layer
        for source in (UINT8, INT8)
        for layer in (
            convolution(isa, UNEVEN, 21, 35, batch=None, source=source),
            convolution(isa, SQUARE, 16, 32, source=source, epilogue=add),
            convolution(isa, SQUARE, 9, 24, groups=3, source=source),
            depthwise(isa, UNEVEN, 21, batch=None, source=source),
            depthwise(isa, SQUARE, 16, source=source, epilogue=Epilogue()),
        )
    ]


@pytest.mark.parametrize("isa", TARGETS, ids=lambda isa: isa.name)
def test_codes_equal_integer_arithmetic(isa: VectorISA, tmp_path: Path) -> None:
    import tvm

    machine, target = emulated_machine(), TARGETS[isa]
    problems = [problem(layer, 1) for layer in _layers(isa)]
    functions = {
        f"kernel{index}": each.layer.kernel().function.with_attr("global_symbol", f"kernel{index}")
        for index, each in enumerate(problems)
    }
    with tvm.transform.PassContext(opt_level=3, config={"tirx.disable_storage_rewrite": True}):
        module = tvm.compile(tvm.IRModule(functions), target=tvm_target(target))
    module.export_library(str(tmp_path / "kernels.so"), fcompile=linker(target).fcompile())
    for index, each in enumerate(problems):
        np.savez(tmp_path / str(index), *each.inputs, np.full(each.shape, 99, each.layer.epilogue.dtype))
    command = machine.python_command("-c", RUNNER, machine.packages, tmp_path, str(len(problems)), cpu=target.cpu)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for index, each in enumerate(problems):
        output = np.load(tmp_path / f"{index}.npy")[..., : each.expected.shape[-1]]
        np.testing.assert_array_equal(output, each.expected, err_msg=str(each.layer))
