"""CUDA libraries hold machine code of the chip asked for, on machines without a GPU; nothing else passes."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edgeml.compiler.cuda import build as cuda
from edgeml.compiler.cuda import driver as cuda_driver
from edgeml.compiler.cuda.fatbin import architectures, check_library
from edgeml.compiler.cuda.usage import parse_ptxas
from edgeml.core.errors import CheckFailedError, MissingError, UsageError
from edgeml.core.target import Target
from tests.conftest import WriteConvNet

pytestmark = [
    pytest.mark.tvm,
    pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc, CUDA's compiler, is not installed"),
]

KERNEL = """
extern "C" __global__ void staged(float* x) {
  __shared__ float tile[256];
  tile[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  x[threadIdx.x] = tile[255 - threadIdx.x];
}
extern "C" __global__ void crowded(float* x) {
  float v[64];
  for (int i = 0; i < 64; ++i) v[i] = x[i * 32 + threadIdx.x];
  __syncthreads();
  for (int i = 0; i < 64; ++i) x[(63 - i) * 32 + threadIdx.x] = v[i] * v[(i + 7) % 64];
}
"""

# Builds libraries in a process of its own, as the compile stage does.
BUILD = """
import json, sys
import onnx
from pathlib import Path
from tvm.relax.frontend.onnx import from_onnx
from tvm.support import cc
from edgeml.compiler.cuda import build as cuda
from edgeml.core.errors import EdgeMLError
from edgeml.core.target import Target
answers = []
for model, target, output, linker in json.load(sys.stdin):
    target = Target.parse(target)
    try:
        executable, usage = cuda.build_cuda(from_onnx(onnx.load(model)), target)
        executable.export_library(output, **({"fcompile": cc.cross_compiler(linker)} if linker else {}))
        answers.append([[each.name, each.registers, each.shared_bytes] for each in usage])
    except EdgeMLError as error:
        answers.append([type(error).__name__, str(error)])
print(json.dumps(answers))
"""


def build(jobs: list[tuple[Path, str, Path, str]], variables: dict[str, str]) -> list[list[Any]]:
    """What each job answered: the kernels, or the error's kind and message."""
    environment = {key: value for key, value in os.environ.items() if key != "LD_LIBRARY_PATH"} | variables
    done = subprocess.run(
        [sys.executable, "-c", BUILD],
        input=json.dumps([[str(word) for word in job] for job in jobs]),
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers: list[list[Any]] = json.loads(done.stdout.splitlines()[-1])
    return answers


def nvcc(directory: Path, *options: str) -> tuple[Path, str]:
    """A file that nvcc itself made of KERNEL, and what it printed."""
    source, output = directory / "kernel.cu", directory / "kernel.out"
    source.write_text(KERNEL)
    done = subprocess.run(["nvcc", *options, "-o", output, source], capture_output=True, text=True, check=True)
    return output, done.stdout + done.stderr


def quantized(model: Path) -> Path:
    """The network with its input rounded to 8 bits and back."""
    import onnx
    from onnx import helper

    net = onnx.load(model)
    net.graph.initializer.append(helper.make_tensor("scale", onnx.TensorProto.FLOAT, [], [0.05]))
    net.graph.initializer.append(helper.make_tensor("zero", onnx.TensorProto.INT8, [], [3]))
    net.graph.node[0].input[0] = "rounded"
    net.graph.node.insert(0, helper.make_node("QuantizeLinear", ["image", "scale", "zero"], ["codes"]))
    net.graph.node.insert(1, helper.make_node("DequantizeLinear", ["codes", "scale", "zero"], ["rounded"]))
    onnx.checker.check_model(net)
    path = model.with_name("quantized.onnx")
    onnx.save(net, path)
    return path


@pytest.mark.slow
def test_libraries_hold_machine_code_of_the_chip_asked_for(
    write_conv_net: WriteConvNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    static, dynamic = write_conv_net("static.onnx", batch=1), write_conv_net("dynamic.onnx")
    jobs = [
        (static, "cuda-sm_75", tmp_path / "sm_75.so", ""),
        (dynamic, "cuda-sm_87", tmp_path / "sm_87.so", ""),
        (quantized(dynamic), "cuda-sm_90", tmp_path / "sm_90.so", ""),
    ]
    linker = shutil.which("aarch64-linux-gnu-g++")
    if linker:
        jobs.append((dynamic, "jetson-orin", tmp_path / "orin.so", linker))
    answers = build(jobs, cuda.environment(Target.parse("cuda-sm_87")))
    for (_, name, library, _), kernels in zip(jobs, answers, strict=True):
        target = Target.parse(name)
        check_library(library, target)
        assert architectures(library) == {target.arch}
        assert kernels
        assert all(0 < registers <= 255 and shared <= 49152 for _, registers, shared in kernels)
        machine = int.from_bytes(library.read_bytes()[18:20], "little")  # e_machine of the ELF header
        assert machine == 183 if name == "jetson-orin" else machine != 183 or os.uname().machine == "aarch64"
    with pytest.raises(CheckFailedError, match="sm_90; sm_75 was asked for"):
        check_library(tmp_path / "sm_90.so", Target.parse("cuda-sm_75"))


def test_a_build_without_the_driver_stand_in_is_refused_as_source_only(
    write_conv_net: WriteConvNet, tmp_path: Path
) -> None:
    if cuda_driver._loads(cuda_driver.DRIVER):
        pytest.skip("this machine has NVIDIA's driver, so TVM's CUDA runtime loads without a stand-in")
    (answer,) = build([(write_conv_net(), "cuda-sm_87", tmp_path / "net.so", "")], {})
    assert answer[0] == "CheckFailedError"
    assert "CUDA source instead of machine code" in str(answer[1])
    assert not (tmp_path / "net.so").exists()


def test_the_architectures_in_a_fatbin_are_those_nvcc_was_asked_for(tmp_path: Path) -> None:
    wanted = [f"-gencode=arch=compute_{number},code=sm_{number}" for number in (75, 90)]
    fatbin, _ = nvcc(tmp_path, "--fatbin", *wanted)
    assert architectures(fatbin) == {"sm_75", "sm_90"}
    library = tmp_path / "library.so"
    library.write_bytes(b"\x7fELF" + bytes(1001) + fatbin.read_bytes() + bytes(57))
    assert architectures(library) == {"sm_75", "sm_90"}
    library.write_bytes(fatbin.read_bytes()[:-1])
    assert architectures(library) == frozenset()


def test_text_for_the_driver_to_compile_is_no_machine_code(tmp_path: Path) -> None:
    fatbin, _ = nvcc(tmp_path, "--fatbin", "-gencode=arch=compute_75,code=compute_75")
    assert fatbin.read_bytes().startswith(bytes.fromhex("50ed55ba"))
    with pytest.raises(CheckFailedError, match="no GPU machine code"):
        check_library(fatbin, Target.parse("cuda-sm_75"))


@pytest.mark.parametrize("content", [b"x", bytes.fromhex("50ed55ba"), bytes.fromhex("50ed55ba") * 40, b"no code" * 99])
def test_bytes_that_only_look_like_a_fatbin_hold_no_machine_code(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file.so"
    path.write_bytes(content)
    assert architectures(path) == frozenset()


def test_a_file_that_is_empty_or_absent_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "empty.so").touch()
    for name in ("empty.so", "absent.so"):
        with pytest.raises(UsageError, match=name):
            architectures(tmp_path / name)


def test_registers_spills_and_shared_memory_are_read_from_the_assembler(tmp_path: Path) -> None:
    options = ("--cubin", "-arch=sm_87", "--ptxas-options=-v")
    _, report = nvcc(tmp_path, *options)
    crowded, staged = parse_ptxas(report)
    assert (crowded.name, staged.name) == ("crowded", "staged")
    assert staged.shared_bytes == 1024
    assert crowded.shared_bytes == crowded.spill_stores_bytes == 0
    assert staged.registers < crowded.registers <= 255
    _, report = nvcc(tmp_path, *options, "-maxrregcount=24")
    crowded, _ = parse_ptxas(report)
    assert crowded.registers <= 24
    assert crowded.spill_stores_bytes > 0
    assert crowded.spill_loads_bytes > 0


@pytest.mark.parametrize("architecture", ["sm_53", "sm_72"])
def test_chips_that_nvcc_has_dropped_are_refused_with_the_reason(architecture: str) -> None:
    with pytest.raises(UsageError, match=f"sm_75 and newer, so none for {architecture}"):
        cuda.environment(Target("cuda", arch=architecture, host="host"))


def test_a_missing_cuda_runtime_library_is_named_with_its_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(cuda_driver, "_loads", lambda library: False)
    monkeypatch.setattr(cuda_driver, "_runtime_candidates", lambda nvcc: iter([tmp_path]))
    with pytest.raises(MissingError, match=r"libcudart\.so\.13.*nvidia-cuda-runtime"):
        cuda_driver.library_directories(Path("nvcc"))


def test_a_missing_c_compiler_is_named_and_leaves_no_stand_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingError, match="no C compiler"):
        cuda_driver._stand_in(("cuInit",))
    assert not list(tmp_path.iterdir())


def test_a_rule_that_fails_leaves_the_operator_to_the_next_rule() -> None:
    from edgeml.compiler.cuda.schedule import _skipping_failures

    class Failing:
        def apply(self, *_: object) -> str:
            raise AssertionError

    class Working:
        def apply(self, *_: object) -> str:
            return "a schedule"

    assert _skipping_failures(Failing()).apply(None, None, False) is None
    assert _skipping_failures(Working()).apply(None, None, False) == "a schedule"


def test_a_quantized_model_is_said_to_run_in_fp32(write_conv_net: WriteConvNet) -> None:
    import onnx

    model = write_conv_net()
    assert cuda.precision_note(onnx.load(model)) is None
    note = cuda.precision_note(onnx.load(quantized(model)))
    assert note is not None
    assert "1 QuantizeLinear" in note
    assert "fp32" in note
