"""Lets TVM generate GPU machine code on a machine without a GPU, by standing in for the driver library it links to.

TVM's CUDA runtime is loaded only where libcuda.so.1 (the driver) and libcudart.so.13 are found. Without it TVM compiles
all the same, but leaves CUDA source in the library instead of machine code, and says nothing. Compiling calls no driver
function; the stand-in has each one that is linked to, and each answers "no device".
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from edgeml.core.atomic import atomic_write
from edgeml.core.errors import EdgeMLError, MissingError, needs_extra
from edgeml.core.user_directories import cache_directory

DRIVER = "libcuda.so.1"
RUNTIME = "libcudart.so.13"

_NO_DEVICE = 100  # CUDA_ERROR_NO_DEVICE


def library_directories(nvcc: Path) -> tuple[Path, ...]:
    """Directories to put on LD_LIBRARY_PATH so that TVM's CUDA runtime loads; none where all is found already.

    Args:
        nvcc: CUDA's compiler; the runtime library is looked for beside it.

    Raises:
        MissingError: TVM, the CUDA runtime library, or what builds the stand-in is not there.
    """
    return (*_runtime_directory(nvcc), *_driver_directory())


def _runtime_directory(nvcc: Path) -> tuple[Path, ...]:
    if _loads(RUNTIME):
        return ()
    for directory in _runtime_candidates(nvcc):
        if (directory / RUNTIME).is_file():
            return (directory,)
    raise MissingError(
        f"{RUNTIME} is not installed, neither beside {nvcc} nor as a package; "
        "install it with: pip install 'nvidia-cuda-runtime>=13,<14'"
    )


def _runtime_candidates(nvcc: Path) -> Iterator[Path]:
    toolkit = _toolkit(nvcc)
    yield from (toolkit / "lib64", toolkit / "lib")
    yield from sorted(toolkit.glob("targets/*/lib"))
    packages = importlib.util.find_spec("nvidia")
    for root in packages.submodule_search_locations or () if packages else ():
        yield from sorted(path.parent for path in Path(root).glob(f"*/lib/{RUNTIME}"))


def _toolkit(nvcc: Path) -> Path:
    """The toolkit's directory as nvcc itself names it: the command may be a wrapper that lies elsewhere."""
    done = subprocess.run([nvcc, "-dryrun", "-E", "-x", "cu", os.devnull], capture_output=True, text=True, check=False)
    match = re.search(r"^#\$ TOP=(.*)$", done.stderr, re.MULTILINE)
    return Path(match[1].strip()) if match else nvcc.resolve().parent.parent


def _driver_directory() -> tuple[Path, ...]:
    if _loads(DRIVER):
        return ()
    with needs_extra("tvm"):
        package = importlib.util.find_spec("tvm")
        if package is None or package.origin is None:
            raise ModuleNotFoundError(name="tvm")
    library = Path(package.origin).parent / "lib" / "libtvm_runtime_cuda.so"
    if not library.is_file():
        raise MissingError(
            f"the installed apache-tvm has no CUDA runtime ({library}); use Linux on x86-64 or aarch64 "
            "to compile for CUDA targets"
        )
    return (_stand_in(_driver_functions(library)),)


def _driver_functions(library: Path) -> tuple[str, ...]:
    """Functions of the driver that the library links to; the runtime's own begin with "cuda"."""
    nm = shutil.which("nm")
    if nm is None:
        raise MissingError("nm is not installed; install it with: apt-get install binutils")
    done = subprocess.run([nm, "-D", "--undefined-only", library], capture_output=True, text=True, check=False)
    if done.returncode:
        raise EdgeMLError(f"nm cannot read {library}: {done.stderr.strip().splitlines()[-1:]}")
    return tuple(sorted(set(re.findall(r"\bcu[A-Z]\w*", done.stdout))))


def _stand_in(functions: tuple[str, ...]) -> Path:
    """The directory of a driver library with these functions; built once and kept in the user's cache."""
    source = "".join(f"int {function}(void) {{ return {_NO_DEVICE}; }}\n" for function in functions)
    digest = hashlib.sha256(source.encode()).hexdigest()[:16]
    directory = cache_directory() / f"cuda-driver-stand-in-{digest}"
    if (directory / DRIVER).is_file():
        return directory
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None:
        raise MissingError("no C compiler is installed; install one with: apt-get install gcc")
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EdgeMLError(f"cannot write {directory}: {error.strerror or error}") from error
    with atomic_write(directory / DRIVER) as path:
        command = [compiler, "-shared", "-fPIC", f"-Wl,-soname,{DRIVER}", "-x", "c", "-", "-o", str(path)]
        done = subprocess.run(command, input=source, capture_output=True, text=True, check=False)
        if done.returncode:
            lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
            raise EdgeMLError(f"{compiler} cannot build a library: {lines[-1]}")
    return directory


def _loads(library: str) -> bool:
    """Whether the dynamic linker finds the library, tried in another process: here it would stay loaded."""
    code = f"import ctypes; ctypes.CDLL({library!r})"
    return not subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode
