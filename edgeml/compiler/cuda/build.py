"""Compiles an imported model for an NVIDIA GPU; neither a GPU nor its driver is needed for that."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeml.compiler.cuda.driver import library_directories
from edgeml.compiler.cuda.fatbin import check_library
from edgeml.compiler.cuda.schedule import schedule_for_gpu
from edgeml.compiler.cuda.usage import CudaKernelUsage, parse_ptxas
from edgeml.compiler.toolchains import check_cuda_arch, nvcc
from edgeml.compiler.tvm_target import tvm_target
from edgeml.core.errors import CheckFailedError, EdgeMLError
from edgeml.core.target import Target

if TYPE_CHECKING:
    import onnx
    import tvm

__all__ = ["CudaKernelUsage", "build_cuda", "check_library", "environment", "precision_note"]

_COMPILE = "tvm_callback_cuda_compile"  # TVM calls the global function of this name to make machine code of CUDA source


def environment(target: Target) -> dict[str, str]:
    """Variables that the process which compiles for `target` must be started with.

    Raises:
        MissingError: nvcc, the CUDA runtime or a C compiler is not there.
        UsageError: the installed nvcc generates no code for the target's chip.
    """
    check_cuda_arch(target)
    directories = [str(directory) for directory in library_directories(nvcc())]
    inherited = os.environ.get("LD_LIBRARY_PATH")
    path = os.pathsep.join([*directories, *([inherited] if inherited else [])])
    return {"LD_LIBRARY_PATH": path} if path else {}


def build_cuda(mod: tvm.IRModule, target: Target) -> tuple[Any, tuple[CudaKernelUsage, ...]]:
    """The executable of the imported module `mod` with machine code for `target`, and what each GPU kernel takes.

    Arithmetic is float32 as IEEE 754 has it: nvcc's fast mathematics, which TVM would switch on, is off. The models'
    quantize-dequantize pairs stay what the ONNX file says, so such a model runs in float32 too.

    Args:
        mod: a Relax module as it comes from the importer.
        target: a CUDA target. The process must have been started with the variables of `environment(target)`.

    Raises:
        EdgeMLError: nvcc failed.
        CheckFailedError: TVM made no machine code.
    """
    import tvm
    from tvm import relax

    compiled_for = tvm_target(target)
    with _nvcc_compiles(target) as usage, compiled_for:
        executable = relax.build(schedule_for_gpu(mod, compiled_for), target=compiled_for)
    if _has_gpu_kernels(executable.mod) and not usage:
        raise CheckFailedError(
            f"TVM left CUDA source instead of machine code for {target.arch}: its CUDA runtime could not be loaded "
            f"with LD_LIBRARY_PATH={os.environ.get('LD_LIBRARY_PATH', '')!r}; tvm is {tvm.__version__}"
        )
    return executable, tuple(usage)


def precision_note(model: onnx.ModelProto) -> str | None:
    """A line that says so where a quantized model runs in float32 on a GPU; None for a model that is not quantized."""
    count = sum(node.op_type == "QuantizeLinear" for node in model.graph.node)
    if not count:
        return None
    return (
        f"the model is quantized ({count} QuantizeLinear nodes); on CUDA it runs in fp32, rounded where the file says, "
        "and is no faster than the fp32 model"
    )


def _has_gpu_kernels(module: Any) -> bool:
    return module.kind == "cuda" or any(_has_gpu_kernels(each) for each in module.imports)


@contextmanager
def _nvcc_compiles(target: Target) -> Iterator[list[CudaKernelUsage]]:
    """While it lasts TVM's CUDA source is compiled here; the list fills with what each kernel takes."""
    import tvm_ffi

    usage: list[CudaKernelUsage] = []
    failures: list[EdgeMLError] = []

    def compile_source(source: str) -> bytes:
        try:
            binary, found = _compile(source, target)
        except EdgeMLError as error:
            failures.append(error)  # TVM would hand it on as an error of its own
            raise
        usage.extend(found)
        return binary

    before = tvm_ffi.get_global_func(_COMPILE)
    tvm_ffi.register_global_func(_COMPILE, compile_source, override=True)
    try:
        yield usage
    except Exception as error:
        if failures:
            raise failures[0] from error
        raise
    finally:
        tvm_ffi.register_global_func(_COMPILE, before, override=True)


def _compile(source: str, target: Target) -> tuple[bytes, tuple[CudaKernelUsage, ...]]:
    """The fatbin of CUDA source, and the assembler's report."""
    with tempfile.TemporaryDirectory(prefix="edgeml-cuda-") as directory:
        code, binary = Path(directory, "kernels.cu"), Path(directory, "kernels.fatbin")
        code.write_text(source, encoding="utf-8")
        generate = f"arch=compute_{target.arch.removeprefix('sm_')},code={target.arch}"
        options = ["--fatbin", "-O3", "-gencode", generate, "--expt-relaxed-constexpr", "--disable-warnings"]
        command = [str(nvcc()), *options, "--ptxas-options=-v", "-o", str(binary), str(code)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        report = done.stdout + done.stderr
        if done.returncode:
            lines = [line for line in report.splitlines() if "error" in line] or [_last_line(report)]
            raise EdgeMLError(f"nvcc cannot compile the model's kernels for {target.arch}: {lines[0]}")
        return binary.read_bytes(), parse_ptxas(report)


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no message"])[-1]
