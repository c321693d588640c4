"""The programs that turn TVM's object code into a library: a C++ compiler that makes code for the target, and nvcc."""

from __future__ import annotations

import os
import platform
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from edgeml.core.errors import EdgeMLError, MissingError, UsageError
from edgeml.core.system_packages import install_command
from edgeml.core.target import PRESETS, Target

_TIMEOUT_S = 300.0
_LINE_LIMIT = 300
# One machine, several names.
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
# TVM's wheels are linked with CUDA 13, which makes and runs nothing for older GPUs.
_LEAST_CUDA_ARCH = 75


@dataclass(frozen=True)
class Toolchain:
    """A C++ compiler that links for one kind of machine.

    Attributes:
        prefix: GNU name of the machine it makes code for ("aarch64-linux-gnu"); "" is this one.
        cxx: the compiler's command: a program and options that are always given.
    """

    prefix: str
    cxx: tuple[str, ...]

    @cached_property
    def version(self) -> str:
        """What the compiler says it is, one line; also the proof that it starts.

        Raises:
            EdgeMLError: it cannot be started.
        """
        return run((*self.cxx, "--version")).partition("\n")[0].strip()

    @property
    def objdump(self) -> Path | None:
        """The disassembler of the same machine, where there is one."""
        return self._beside("objdump")

    @property
    def readelf(self) -> Path | None:
        """The program that lists a library's headers, where there is one."""
        return self._beside("readelf")

    def compile(self, *arguments: str | Path) -> None:
        """Run the compiler.

        Raises:
            EdgeMLError: it failed; the message is its first error.
        """
        run((*self.cxx, *map(str, arguments)))

    def fcompile(self) -> Callable[..., None]:
        """A linker as TVM's `export_library(path, fcompile=...)` takes it."""

        def link(output: str, objects: str | list[str], options: list[str] | None = None, **_: Any) -> None:
            files = [objects] if isinstance(objects, str) else objects
            self.compile("-shared", "-fPIC", "-o", output, *files, *(options or []))

        # TVM asks for it where a model has no function of its own that would tell what to pack its constants for.
        setattr(link, "get_target_triple", lambda: run((*self.cxx, "-dumpmachine")))  # noqa: B010
        return link

    def _beside(self, tool: str) -> Path | None:
        found = shutil.which(f"{self.prefix}-{tool}" if self.prefix else tool)
        return None if found is None else Path(found)


def linker(target: Target) -> Toolchain:
    """The C++ compiler for `target`'s processor; for CUDA that is the one beside the GPU.

    Taken in this order: the environment variable EDGEML_CXX (this machine) or EDGEML_CXX_AARCH64_LINUX_GNU (the
    machine's name in capitals), which may hold options too ("clang++ --target=aarch64-linux-gnu"); then CXX for this
    machine; then the usual names.

    Raises:
        MissingError: there is none; the message holds the command that installs it.
        UsageError: no CUDA device code can be made for the target.
    """
    processor = target
    if target.kind == "cuda":
        check_cuda_arch(target)
        processor = PRESETS[target.host]
    prefix = "" if is_native(processor) else gnu_prefix(processor.triple)
    variable = override_variable(prefix)
    names = [f"{prefix}-g++"] if prefix else ["c++", "g++", "clang++"]
    for source in (variable, *(() if prefix else ("CXX",))):
        if os.environ.get(source):
            return Toolchain(prefix, _given(source))
    for name in names:
        if shutil.which(name):
            return Toolchain(prefix, (name,))
    raise MissingError(
        f"target {target} needs a C++ compiler for {prefix or 'this machine'}, and {' or '.join(names)} is not "
        f"installed: {_compiler_mend(prefix)}"
    )


def is_native(target: Target) -> bool:
    """Whether programs for the target's processor run on this machine as they are."""
    if not target.triple:
        return True
    machine = _MACHINES.get(platform.machine().lower(), platform.machine().lower())
    return platform.system() == "Linux" and gnu_prefix(target.triple) == f"{machine}-linux-gnu"


def gnu_prefix(triple: str) -> str:
    """GNU's name of the machine that LLVM calls `triple`: what a cross compiler's name begins with."""
    parts = [part for part in triple.split("-") if part not in {"unknown", "none", "pc"}]
    machine = _MACHINES.get(parts[0], parts[0])
    return "-".join(["arm" if machine.startswith("arm") else machine, *parts[1:]])


def override_variable(prefix: str) -> str:
    """The environment variable that names the compiler for a machine."""
    return f"EDGEML_CXX_{re.sub('[^A-Z0-9]', '_', prefix.upper())}" if prefix else "EDGEML_CXX"


def nvcc() -> Path:
    """NVIDIA's compiler: from CUDA_HOME or CUDA_PATH, else PATH, else /usr/local/cuda.

    Raises:
        MissingError: there is none.
    """
    for variable in ("CUDA_HOME", "CUDA_PATH"):
        if os.environ.get(variable):
            path = Path(os.environ[variable]) / "bin" / "nvcc"
            if not path.is_file():
                raise MissingError(
                    f"{variable} is {os.environ[variable]!r}, and there is no {path}: unset or correct it"
                )
            return path
    found = shutil.which("nvcc")
    path = Path(found) if found else Path("/usr/local/cuda/bin/nvcc")
    if not path.is_file():
        raise MissingError(
            "nvcc, which makes CUDA code, is not installed: install NVIDIA's CUDA toolkit 13 and name its directory "
            "with: export CUDA_HOME=/usr/local/cuda"
        )
    return path


def nvcc_version() -> str:
    """The release that nvcc says it is ("13.0").

    Raises:
        MissingError: there is no nvcc.
        EdgeMLError: it does not say.
    """
    text = run((str(nvcc()), "--version"))
    match = re.search(r"release ([0-9.]+)", text)
    if match is None:
        raise EdgeMLError(f"{nvcc()} does not tell its release: {text[:_LINE_LIMIT]}")
    return match[1]


def cuda_architectures() -> tuple[str, ...]:
    """The GPU architectures that the nvcc here makes machine code for ("sm_75", ...), oldest first.

    Raises:
        MissingError: there is no nvcc.
    """
    words = run((str(nvcc()), "--list-gpu-code")).split()
    return tuple(sorted((word for word in words if word.startswith("sm_")), key=lambda word: (len(word), word)))


def check_cuda_arch(target: Target) -> None:
    """Refuse a CUDA target whose machine code cannot be made here; without nvcc only what no CUDA 13 makes is refused.

    Raises:
        UsageError: it cannot; the message says why and what to do.
    """
    number = int(re.sub("[^0-9]", "", target.arch))
    if number < _LEAST_CUDA_ARCH:
        raise UsageError(
            f"target {target}: CUDA 13, which this TVM is linked with, makes code for sm_75 and newer, so none for "
            f"{target.arch} (a Jetson Nano is sm_53, a Jetson Xavier sm_72): compile for the board's processor "
            "instead, 'llvm -triple=aarch64-linux-gnu -cpu=cortex-a57' (Nano) or '-cpu=carmel' (Xavier), or run the "
            "ONNX file with the board's own TensorRT"
        )
    try:
        allowed = cuda_architectures()
    except MissingError:
        return
    base = target.arch.rstrip("abcdefghijklmnopqrstuvwxyz")  # sm_90a is sm_90 with instructions of that GPU alone
    if base not in allowed:
        raise UsageError(
            f"target {target}: nvcc {nvcc_version()} makes no code for {target.arch}; allowed: {', '.join(allowed)}"
        )


def run(command: tuple[str, ...]) -> str:
    """What a tool prints on stdout.

    Raises:
        EdgeMLError: it cannot be started, failed, or took too long; the message is its first line that tells why.
    """
    name = Path(command[0]).name
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=_TIMEOUT_S, check=False
        )
    except OSError as error:
        raise EdgeMLError(f"{command[0]} cannot be started: {error.strerror or error}") from error
    except subprocess.TimeoutExpired as error:
        raise EdgeMLError(f"{name} did not finish within {_TIMEOUT_S:.0f} s; it was stopped") from error
    if done.returncode != 0:
        lines = [line.strip() for line in (done.stderr + "\n" + done.stdout).splitlines() if line.strip()]
        telling = [line for line in lines if "error" in line or "fatal" in line or "cannot" in line]
        reason = (telling or lines or ["it printed nothing"])[0]
        raise EdgeMLError(f"{name} failed with code {done.returncode}: {reason[:_LINE_LIMIT]}")
    return done.stdout


def _given(variable: str) -> tuple[str, ...]:
    try:
        command = tuple(shlex.split(os.environ[variable]))
    except ValueError as error:
        raise UsageError(f"{variable} is {os.environ[variable]!r}, which is no command: {error}") from error
    if not command or shutil.which(command[0]) is None:
        raise MissingError(f"{variable} is {os.environ[variable]!r}, and there is no such program: unset or correct it")
    return command


def _compiler_mend(prefix: str) -> str:
    if not prefix:
        packages = {"debian": "g++", "fedora": "gcc-c++", "arch": "gcc"}
        return install_command(packages, otherwise="install GCC or clang (on macOS: xcode-select --install)")
    packages = {"debian": f"g++-{prefix.replace('_', '-')}"}
    if prefix == "aarch64-linux-gnu":
        packages |= {"fedora": "gcc-c++-aarch64-linux-gnu sysroot-aarch64-fc-glibc", "arch": "aarch64-linux-gnu-gcc"}
    return install_command(
        packages,
        otherwise=f"install a GCC or clang that makes {prefix} code and name it with: export "
        f"{override_variable(prefix)}='COMMAND'",
    )
