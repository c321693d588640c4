"""An ARM computer emulated by QEMU's user mode: an unpacked Debian with Python in a directory, and how to run in it.

It computes what a board computes, instruction by instruction, and says nothing of a board's speed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

from edgeml.core.errors import MissingError
from edgeml.core.system_packages import install_command
from edgeml.core.user_directories import cache_directory
from edgeml.runtime.tvm.target_libraries import tvm_versions

SETUP_COMMAND = "python -m edgeml.runtime.emulated.machine_setup"

# Raised when what the setup makes changes, so that a machine made by an older edgeml is not taken for a new one.
_LAYOUT = 1
# What of the caller's environment would make programs in there load files of this machine.
_NOT_INHERITED = (
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "PYTHONSTARTUP",
    "PYTHONUSERBASE",
    "TVM_LIBRARY_PATH",
    "EDGEML_TVM_RUNTIME",
)
_ANY_CPU = "max"


@dataclass(frozen=True)
class EmulatedMachine:
    """The machine and its emulator.

    Attributes:
        sysroot: the directory that its programs see as "/" where it has the file they ask for; other files are ours.
        qemu: the emulator.
    """

    sysroot: Path
    qemu: Path

    @property
    def python(self) -> Path:
        """Its Python interpreter, a program for ARM."""
        return self.sysroot / "usr" / "bin" / "python3"

    @property
    def packages(self) -> Path:
        """Where its Python finds numpy, tvm_ffi and tvm."""
        return self.sysroot / "site"

    def known_cpu(self, name: str) -> str:
        """The processor of that name where QEMU has it, else "max": one with every instruction that QEMU knows."""
        return name if name in _known_cpus(self.qemu) else _ANY_CPU

    def command(
        self, *program: str | Path, cpu: str = _ANY_CPU, environment: Mapping[str, str] | None = None
    ) -> list[str]:
        """The command that runs an ARM program here.

        Args:
            program: the program's file and its arguments.
            cpu: the processor to be, by LLVM's or QEMU's name ("cortex-a72"): an instruction it lacks ends the program,
                as on the board. See `known_cpu`.
            environment: variables for the program, beside those of the caller.
        """
        options = ["-cpu", self.known_cpu(cpu), "-L", str(self.sysroot)]
        for name in _NOT_INHERITED:
            options += ["-U", name]
        for name, value in (environment or {}).items():
            options += ["-E", f"{name}={value}"]
        return [str(self.qemu), *options, *map(str, program)]

    def python_command(
        self, *arguments: str | Path, cpu: str = _ANY_CPU, environment: Mapping[str, str] | None = None
    ) -> list[str]:
        """The command that runs Python here; `arguments` as Python takes them."""
        own = {
            "PYTHONHOME": str(self.sysroot / "usr"),
            "PYTHONPATH": str(self.packages),
            "PYTHONNOUSERSITE": "1",
            "PYTHONSAFEPATH": "1",
            "TVM_USE_RUNTIME_LIB": "1",  # there is no compiler in there
        }
        return self.command(self.python, *arguments, cpu=cpu, environment=own | dict(environment or {}))


def emulated_machine() -> EmulatedMachine:
    """The emulated machine of this user.

    Raises:
        MissingError: it is not set up; the message holds the command that does it.
    """
    qemu = find_qemu()
    machine = EmulatedMachine(machine_directory() / "sysroot", qemu)
    if not os.path.lexists(machine.python):
        raise MissingError(f"the emulated ARM device is not set up; set it up (about 150 MB) with: {SETUP_COMMAND}")
    return machine


def find_qemu() -> Path:
    """The emulator of 64-bit ARM programs.

    Raises:
        MissingError: it is not installed.
    """
    for name in ("qemu-aarch64-static", "qemu-aarch64"):
        if found := shutil.which(name):
            return Path(found)
    packages = {"debian": "qemu-user-static", "fedora": "qemu-user-static-aarch64", "arch": "qemu-user-static"}
    mend = install_command(
        packages, otherwise="install QEMU's user-mode emulator (on Linux; it exists for no other system)"
    )
    raise MissingError(f"qemu-aarch64, which runs ARM programs on this machine, is not installed: {mend}")


def machine_directory() -> Path:
    """Where the machine with the packages of the versions installed here lies, set up or not.

    Raises:
        MissingError: the packages that it would get are not installed here.
    """
    versions = dict(tvm_versions())
    name = f"tvm-{versions['apache-tvm']}-ffi-{versions['apache-tvm-ffi']}-numpy-{version('numpy')}-{_LAYOUT}"
    return cache_directory() / "emulated-aarch64" / name


@lru_cache
def _known_cpus(qemu: Path) -> frozenset[str]:
    try:
        listed = subprocess.run([str(qemu), "-cpu", "help"], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return frozenset()
    return frozenset(listed.stdout.split())
