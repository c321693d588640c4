"""TVM's runtime libraries for a target: what a compiled model needs beside it on the board.

`python -m edgeml.runtime.tvm.target_libraries TARGET` fetches them.
"""

from __future__ import annotations

import json
import platform
import shlex
import shutil
import sys
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from edgeml.core.artifact import sha256_file
from edgeml.core.atomic import atomic_write
from edgeml.core.errors import EdgeMLError, MissingError, UsageError
from edgeml.core.target import PRESETS, Target
from edgeml.core.user_directories import cache_directory
from edgeml.runtime.tvm.foreign_wheels import unpack_wheels

PACKAGES = ("apache-tvm", "apache-tvm-ffi")

_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
# Machines that apache-tvm publishes Linux wheels for.
_WITH_WHEELS = frozenset({"aarch64", "x86_64"})
_RECORD = "libraries.json"


@dataclass(frozen=True)
class RuntimeLibraries:
    """Where the libraries of one kind of machine lie.

    Attributes:
        libtvm_runtime: TVM's runtime.
        libtvm_ffi: the foreign-function layer below it.
        libtvm_runtime_cuda: what runs CUDA kernels, where there is one.
        python_packages: a directory to import `tvm_ffi` from, where there is one.
    """

    libtvm_runtime: Path
    libtvm_ffi: Path
    libtvm_runtime_cuda: Path | None
    python_packages: Path | None


def tvm_versions() -> tuple[tuple[str, str], ...]:
    """The versions of TVM's packages installed here, by name: what is fetched for a target is the same.

    Raises:
        MissingError: one is not installed.
    """
    try:
        return tuple((name, version(name)) for name in PACKAGES)
    except PackageNotFoundError as error:
        raise MissingError(f"{error.name} is not installed; install it with: pip install 'edgeml[tvm]'") from error


def runtime_libraries(target: Target) -> RuntimeLibraries:
    """The libraries for `target`: from the installed packages for this kind of machine, else from the user's cache.

    Raises:
        MissingError: they are not there; the message holds the command that fetches them.
    """
    machine = machine_of(target)
    if machine == _this_machine():
        return _installed()
    found = _libraries_in(libraries_directory(machine))
    if found is None:
        mend = _by_hand(machine) if machine not in _WITH_WHEELS else f"fetch them with: {fetch_command(target)}"
        raise MissingError(f"TVM's runtime libraries for {machine} are not on this machine; {mend}")
    return found


def fetch_runtime_libraries(target: Target) -> RuntimeLibraries:
    """The same, downloaded into the cache first where they are not there yet.

    Raises:
        MissingError: nobody publishes them for the target; the message says how to make them.
        EdgeMLError: the download failed; nothing is left of it.
    """
    machine = machine_of(target)
    directory = libraries_directory(machine)
    if machine == _this_machine() or machine not in _WITH_WHEELS or _libraries_in(directory) is not None:
        return runtime_libraries(target)
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EdgeMLError(f"cannot write {directory}: {error.strerror or error}") from error
    try:
        with atomic_write(directory) as temporary:
            temporary.mkdir()
            _fill(temporary, machine)
    except EdgeMLError:
        if _libraries_in(directory) is None:  # else another process was first, with the same files
            raise
    return runtime_libraries(target)


def fetch_command(target: Target) -> str:
    """The command that fetches the libraries for `target`."""
    return f"python -m edgeml.runtime.tvm.target_libraries {shlex.quote(str(target))}"


def libraries_directory(machine: str) -> Path:
    """Where the libraries for a machine are kept; files put there by hand are used too."""
    versions = dict(tvm_versions())
    python = f"cp{sys.version_info.major}{sys.version_info.minor}"
    return cache_directory() / "tvm-runtime" / f"{versions['apache-tvm']}-{machine}-{python}"


def machine_of(target: Target) -> str:
    """Linux's name of the target's processor ("aarch64"); for CUDA that of the one beside the GPU."""
    processor = PRESETS[target.host] if target.kind == "cuda" else target
    machine = (processor.triple or platform.machine()).split("-")[0].lower()
    return _MACHINES.get(machine, machine)


def _this_machine() -> str:
    machine = platform.machine().lower()
    return _MACHINES.get(machine, machine)


def _installed() -> RuntimeLibraries:
    """Those of the installed wheels, found without importing them."""
    tvm_versions()
    tvm, ffi = _package("tvm"), _package("tvm_ffi")
    if tvm is not None and ffi is not None:
        runtime, below = _library(tvm, "tvm_runtime"), _library(ffi, "tvm_ffi")
        if runtime is not None and below is not None:
            return RuntimeLibraries(runtime, below, _library(tvm, "tvm_runtime_cuda"), ffi.parent)
    raise MissingError("the installed apache-tvm holds no libtvm_runtime; install it with: pip install 'edgeml[tvm]'")


def _package(name: str) -> Path | None:
    spec = find_spec(name)
    return Path(spec.submodule_search_locations[0]) if spec and spec.submodule_search_locations else None


def _library(package: Path, name: str) -> Path | None:
    for file in (f"lib{name}.so", f"lib{name}.dylib", f"{name}.dll"):
        if (package / "lib" / file).is_file():
            return package / "lib" / file
    return None


def _libraries_in(directory: Path) -> RuntimeLibraries | None:
    """The libraries lying in a directory of the cache; None where it lacks one."""
    runtime, below, cuda = (directory / f"lib{name}.so" for name in ("tvm_runtime", "tvm_ffi", "tvm_runtime_cuda"))
    if not (runtime.is_file() and below.is_file()):
        return None
    python = directory / "python"
    return RuntimeLibraries(runtime, below, cuda if cuda.is_file() else None, python if python.is_dir() else None)


def _fill(directory: Path, machine: str) -> None:
    """Unpack what is needed of the wheels for `machine`, and write down what it was."""
    versions = dict(tvm_versions())
    wheels = unpack_wheels(
        (
            *(f"{name}=={number}" for name, number in versions.items()),
            f"typing_extensions=={version('typing_extensions')}",
        ),
        directory / "python",
        machine=machine,
        python=f"{sys.version_info.major}.{sys.version_info.minor}",
        keep=_is_kept,
    )
    packages = directory / "python"
    for name in ("libtvm_runtime.so", "libtvm_runtime_cuda.so"):
        library = packages / "tvm" / "lib" / name
        if library.is_file():
            library.rename(directory / name)
    shutil.rmtree(packages / "tvm", ignore_errors=True)
    shutil.copy(packages / "tvm_ffi" / "lib" / "libtvm_ffi.so", directory)
    record = {
        "wheels": [asdict(wheel) for wheel in wheels],
        "sha256": {path.name: sha256_file(path) for path in sorted(directory.glob("*.so"))},
    }
    (directory / _RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def _is_kept(name: str) -> bool:
    """Of tvm the runtime alone, which is a hundredth of it; of the other packages everything."""
    if name.startswith("tvm/"):
        return name in {"tvm/lib/libtvm_runtime.so", "tvm/lib/libtvm_runtime_cuda.so"}
    return not name.startswith("apache_tvm-")


def _by_hand(machine: str) -> str:
    versions = dict(tvm_versions())
    return (
        f"nobody publishes them for {machine}: build the target tvm_runtime of Apache TVM "
        f"{versions['apache-tvm'].partition('.post')[0]} with CMake on the board, and put libtvm_runtime.so and "
        f"libtvm_ffi.so into {libraries_directory(machine)}"
    )


def main() -> None:
    """Fetch the libraries for the target named on the command line, and print where they lie."""
    try:
        if len(sys.argv) != 2:
            raise UsageError("name one target, such as: python -m edgeml.runtime.tvm.target_libraries rpi4")
        libraries = fetch_runtime_libraries(Target.parse(sys.argv[1]))
    except EdgeMLError as error:
        sys.stderr.write(f"edgeml: {error}\n")
        sys.exit(error.exit_code)
    sys.stdout.write(f"{libraries.libtvm_runtime}\n{libraries.libtvm_ffi}\n")


if __name__ == "__main__":
    main()
