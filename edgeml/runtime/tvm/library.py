"""Brings TVM's runtime into this process: libtvm_runtime and its Python binding tvm_ffi, never the tvm package."""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from edgeml.core.errors import EdgeMLError, MissingError, UsageError, needs_extra

VARIABLE = "EDGEML_TVM_RUNTIME"

_NAMES = {"darwin": "libtvm_runtime.dylib", "win32": "tvm_runtime.dll"}
_BESIDE = (".", "lib")
# A thread that nobody configured would get half the machine's cores, whatever affinity and quota leave it; tvm_threads
# gives every thread that runs a model its own number.
_UNCONFIGURED = {"TVM_NUM_THREADS": "1"}
_DEFAULTS = {
    # TVM would bind threads, the caller's for good, to the machine's first cores, be they this process's or not.
    "TVM_BIND_THREADS": "0",
    # Idle threads of the pool look so many times for work before they sleep: long enough to stay awake from one
    # operator to the next. TVM's own 300,000 keep a core busy for a tenth of a second after every run.
    "TVM_THREAD_POOL_SPIN_COUNT": "2000",
}

_FIRST_GPU = (2, 0)  # DLPack's device type and index
_EXISTS = 0  # the device attribute of that name

_loading = threading.Lock()


def is_installed() -> bool:
    """Whether tvm_ffi can be imported; does not import it."""
    return find_spec("tvm_ffi") is not None


def import_tvm_ffi() -> ModuleType:
    """The tvm_ffi module.

    It imports torch where that is installed, only to have it loaded first: seconds and hundreds of megabytes that
    running a compiled model has no use for. So torch is made to look absent meanwhile, unless it is loaded already.

    Raises:
        MissingError: it is not installed.
    """
    hidden = "tvm_ffi" not in sys.modules and "torch" not in sys.modules
    if hidden:
        sys.modules["torch"] = None  # type: ignore[assignment]
    try:
        with needs_extra("tvm"):
            import tvm_ffi
    finally:
        if hidden:
            del sys.modules["torch"]
    module: ModuleType = tvm_ffi
    return module


def load_runtime(beside: Path | None = None) -> ModuleType:
    """The tvm_ffi module, with libtvm_runtime loaded; a second call does nothing more.

    A process can hold one libtvm_runtime: the first one found stays.

    Args:
        beside: a directory where the library may lie too, as in an unpacked bundle.

    Raises:
        MissingError: tvm_ffi or the library is not on this machine.
        EdgeMLError: the system cannot load the library.
    """
    with _loading:
        tvm_ffi = import_tvm_ffi()
        os.environ.update(_UNCONFIGURED)
        for setting, value in _DEFAULTS.items():
            os.environ.setdefault(setting, value)
        if tvm_ffi.get_global_func("runtime.NumThreads", allow_missing=True) is not None:
            return tvm_ffi
        path = find_runtime_library(beside)
        try:
            ctypes.CDLL(str(path), ctypes.RTLD_GLOBAL)
        except OSError as error:
            raise EdgeMLError(f"cannot load TVM's runtime {path}: {error}") from error
        return tvm_ffi


def load_cuda_runtime(tvm_ffi: ModuleType, beside: Path | None = None) -> None:
    """Load what runs models on NVIDIA GPUs: libtvm_runtime_cuda, from beside libtvm_runtime.

    Raises:
        MissingError: the library, the CUDA runtime, the driver, or a GPU is not there.
    """
    with _loading:
        if tvm_ffi.get_global_func("device_api.cuda", allow_missing=True) is None:
            path = find_runtime_library(beside)
            path = path.with_name(path.name.replace("tvm_runtime", "tvm_runtime_cuda"))
            try:
                ctypes.CDLL(str(path), ctypes.RTLD_GLOBAL)
            except OSError as error:
                raise MissingError(
                    f"a model for a GPU needs {path.name}, CUDA 13's runtime and NVIDIA's driver: {error}"
                ) from error
        if not tvm_ffi.get_global_func("runtime.GetDeviceAttr")(*_FIRST_GPU, _EXISTS):
            raise MissingError("a model for a GPU needs an NVIDIA GPU; this machine shows none")


def find_runtime_library(beside: Path | None = None) -> Path:
    """Where libtvm_runtime lies: by the variable EDGEML_TVM_RUNTIME, in the installed tvm package, or in `beside`.

    Raises:
        MissingError: it is in none of these places.
        UsageError: the variable names no such file.
    """
    name = _NAMES.get(sys.platform, "libtvm_runtime.so")
    if named := os.environ.get(VARIABLE):
        chosen = Path(named) / name if Path(named).is_dir() else Path(named)
        if not chosen.is_file():
            raise UsageError(f"{VARIABLE} is {named!r}; it must be {name} or a directory that holds it")
        return chosen.resolve()
    spec = find_spec("tvm")
    packages = [] if spec is None else [Path(place) / "lib" for place in spec.submodule_search_locations or ()]
    places = [*packages, *([] if beside is None else [beside / each for each in _BESIDE])]
    for place in places:
        if (place / name).is_file():
            return (place / name).resolve()
    raise MissingError(
        f"{name} was not found; install it with: pip install 'edgeml[tvm]', keep the model in its unpacked bundle, "
        f"or set {VARIABLE} to the file"
    )
