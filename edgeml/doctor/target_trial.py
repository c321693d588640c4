"""Proves a target's tool chain: a program and a TVM library are built for it, run, and their results compared."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edgeml.compiler.toolchains import Toolchain, check_cuda_arch, is_native, linker, nvcc, nvcc_version, run
from edgeml.compiler.trial_library import as_artifact, expected, sample
from edgeml.core.device import LOCAL, Device
from edgeml.core.errors import CheckFailedError, EdgeMLError, MissingError
from edgeml.core.finding import Finding, find
from edgeml.core.session import Session, SessionOptions
from edgeml.core.system_packages import install_command
from edgeml.core.target import PRESETS, Target
from edgeml.runtime.emulated.device import open_emulated
from edgeml.runtime.emulated.machine import emulated_machine
from edgeml.runtime.process_session import ProcessSession
from edgeml.runtime.tvm.shared_library import read_elf_header
from edgeml.runtime.tvm.target_libraries import machine_of, runtime_libraries

_BUILD_TIMEOUT_S = 300.0
_RUN_TIMEOUT_S = 120.0
_TOLERANCE = 1e-6
_LINE_LIMIT = 300
# The sum of i * i for i = 1 ... 100, in floating point and through the C++ library's containers and output.
_PROGRAM = """\
#include <iostream>
#include <numeric>
#include <vector>
int main() {
  std::vector<double> values(100);
  std::iota(values.begin(), values.end(), 1.0);
  std::cout << std::inner_product(values.begin(), values.end(), values.begin(), 0.0) << std::endl;
}
"""
_PRINTED = "338350"
_KERNEL = 'extern "C" __global__ void twice(float* x) { x[threadIdx.x] *= 2; }\n'


def try_target(target: Target) -> Iterator[Finding]:
    """Yield what each step finds, in order; a step that needs an earlier one's result is skipped where that failed."""
    processor = PRESETS[target.host] if target.kind == "cuda" else target
    with tempfile.TemporaryDirectory(prefix="edgeml-doctor-") as name:
        directory = Path(name)
        if target.kind == "cuda":
            yield find("nvcc", nvcc_version)
            yield find("CUDA code", lambda: _build_kernel(target, directory))
        compiler = find("C++ compiler", lambda: linker(processor).version)
        yield compiler
        if compiler.status != "ok":
            yield Finding("C++ program", "skipped", "it needs the C++ compiler")
            yield Finding("TVM library", "skipped", "it needs the C++ compiler")
            return
        toolchain = linker(processor)
        program = directory / "trial"
        built = find("C++ program", lambda: _build_program(toolchain, program))
        yield built
        if built.status == "ok":
            yield find("C++ program runs", lambda: _run_program(processor, program))
        library = directory / "trial.so"
        built = find("TVM library", lambda: _build_library(processor, library))
        yield built
        if built.status == "ok":
            yield _runs(processor, library)
        yield find("TVM runtime for it", lambda: str(runtime_libraries(processor).libtvm_runtime), needed=False)


def _build_kernel(target: Target, directory: Path) -> str:
    check_cuda_arch(target)
    source, output = directory / "twice.cu", directory / "twice.cubin"
    source.write_text(_KERNEL, encoding="utf-8")
    run((str(nvcc()), "-cubin", f"-arch={target.arch}", "-o", str(output), str(source)))
    return f"{output.stat().st_size} bytes for {target.arch}"


def _build_program(toolchain: Toolchain, program: Path) -> str:
    source = program.with_suffix(".cc")
    source.write_text(_PROGRAM, encoding="utf-8")
    # Static where it is to run under an emulator: no library of the target need then lie on this machine.
    toolchain.compile("-O2", *(["-static"] if toolchain.prefix else []), "-o", program, source)
    return f"built for {_machine(program)}"


def _build_library(target: Target, library: Path) -> str:
    """Have a process of its own build it: TVM can end the process it runs in."""
    command = [sys.executable, "-m", "edgeml.compiler.trial_library", str(target), str(library)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_BUILD_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise EdgeMLError(f"TVM did not finish within {_BUILD_TIMEOUT_S:.0f} s; it was stopped") from error
    if done.returncode != 0:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()] or ["it printed nothing"]
        kind = MissingError if done.returncode == MissingError.exit_code else EdgeMLError
        raise kind(lines[-1][:_LINE_LIMIT] if done.returncode > 0 else f"TVM was ended by signal {-done.returncode}")
    found = _machine(library)
    wanted = machine_of(target)
    if found.partition(" ")[0] not in {wanted, wanted.replace("_", "-"), "arm" if wanted.startswith("arm") else wanted}:
        raise CheckFailedError(f"the library is for {found}, not for {wanted}: EDGEML_CXX names another compiler")
    return f"built for {found}"


def _run_program(target: Target, program: Path) -> str:
    command = [str(program)] if is_native(target) else [*_emulator(target), str(program)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_RUN_TIMEOUT_S, check=False)
    except OSError as error:
        raise EdgeMLError(f"{command[0]} cannot be started: {error.strerror or error}") from error
    except subprocess.TimeoutExpired as error:
        raise EdgeMLError(f"the program did not finish within {_RUN_TIMEOUT_S:.0f} s") from error
    if done.returncode != 0 or done.stdout.strip() != _PRINTED:
        said = (done.stdout + done.stderr).strip().splitlines() or ["nothing"]
        raise EdgeMLError(
            f"the program ended with code {done.returncode} and printed {said[-1]!r:.100}, not {_PRINTED}"
        )
    return f"it printed {_PRINTED}, as it should{'' if is_native(target) else f', under {Path(command[0]).name}'}"


def _emulator(target: Target) -> list[str]:
    machine = machine_of(target)
    name = "arm" if machine.startswith("arm") else machine
    for candidate in (f"qemu-{name}-static", f"qemu-{name}"):
        if found := shutil.which(candidate):
            return [found]
    packages = {"debian": "qemu-user-static", "fedora": f"qemu-user-static-{name}", "arch": "qemu-user-static"}
    mend = install_command(packages, otherwise="install QEMU's user-mode emulator")
    raise MissingError(f"qemu-{name}, which runs the target's programs on this machine, is not installed: {mend}")


def _runs(target: Target, library: Path) -> Finding:
    name = "TVM library runs"
    if not is_native(target) and machine_of(target) != "aarch64":
        return Finding(name, "skipped", f"nobody publishes TVM's runtime for {machine_of(target)}; it was linked only")
    if is_native(target) and target.cpu:
        return Finding(name, "skipped", f"this machine may not be the {target.cpu} that it is for; it was linked only")
    return find(name, lambda: _run_library(target, library))


def _run_library(target: Target, library: Path) -> str:
    device = LOCAL if is_native(target) else Device("qemu", "aarch64")
    x = sample()
    session = _open(target, library, device)
    try:
        found = session.run({"x": x})["y"]
    finally:
        session.close()
    difference = float(np.abs(found - expected(x)).max())
    if not difference <= _TOLERANCE:
        raise EdgeMLError(f"its result differs from numpy's by {difference:.2g}; allowed: {_TOLERANCE:.0g}")
    where = "here" if device == LOCAL else f"on {device}, a {emulated_machine().known_cpu(target.cpu)}"
    return f"{where}: within {difference:.2g} of numpy"


def _open(target: Target, library: Path, device: Device) -> Session:
    artifact = as_artifact(library, target)
    options = SessionOptions(threads=1)
    if device != LOCAL:
        return open_emulated(artifact, device, options)
    return ProcessSession(
        artifact,
        (sys.executable, "-m", "edgeml.runtime.session_server"),
        device=LOCAL,
        opened_on=LOCAL,
        options=options,
        environment={},
        open_timeout_s=_RUN_TIMEOUT_S,
        run_timeout_s=_RUN_TIMEOUT_S,
    )


def _machine(path: Path) -> str:
    header = read_elf_header(path)
    return "no ELF machine" if header is None else str(header)
