"""Finds the library of native kernels and tells which of them this processor runs.

The variable EDGEML_PLUGIN names another library, or is `off`: then models run by standard operators. EDGEML_KERNEL
chooses one of the kernels: `scalar`, `neon`, `avx2` or `avx512-vpopcntdq`.
"""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from edgeml.core.errors import EdgeMLError, MissingError, UsageError

LIBRARY_VARIABLE = "EDGEML_PLUGIN"
KERNEL_VARIABLE = "EDGEML_KERNEL"
_NAME = "libedgeml_onnxruntime.so"
_OFF = "off"


@dataclass(frozen=True)
class Plugin:
    """The library, loaded into this process.

    Attributes:
        path: where it lies.
        kernel: the instruction set whose kernels models opened now use.
        kernels: those that the library holds and this processor runs, slowest first.
    """

    path: Path
    kernel: str
    kernels: tuple[str, ...]


def load_plugin() -> Plugin:
    """The library of native kernels, loaded.

    Raises:
        MissingError: edgeml was installed without it, or EDGEML_PLUGIN is `off` or names no file.
        UsageError: EDGEML_KERNEL names a kernel that is not there.
        EdgeMLError: it cannot be loaded.
    """
    path = _find()
    try:
        library = ctypes.CDLL(str(path))
        kernel, kernels = _text(library, "edgeml_kernel"), _text(library, "edgeml_kernels")
    except (OSError, AttributeError) as error:
        raise EdgeMLError(f"the native kernels cannot be loaded: {error}; build them again with: {_mend()}") from error
    plugin = Plugin(path, kernel, tuple(kernels.split(",")))
    wish = os.environ.get(KERNEL_VARIABLE)
    if wish is not None and wish not in plugin.kernels:
        raise UsageError(f"{KERNEL_VARIABLE} is {wish!r}; here it may be {', '.join(plugin.kernels)}")
    return plugin


def _find() -> Path:
    wish = os.environ.get(LIBRARY_VARIABLE)
    if wish == _OFF:
        raise MissingError(f"the native kernels are turned off: {LIBRARY_VARIABLE} is {_OFF!r}")
    if wish is not None:
        if not Path(wish).is_file():
            raise MissingError(f"{LIBRARY_VARIABLE} is {wish!r}, which is no file")
        return Path(wish).resolve()
    for path in _places():
        if path.is_file():
            return path
    raise MissingError(
        f"edgeml was installed without its native kernels; install a C++17 compiler, then build them with: {_mend()}"
    )


def _places() -> list[Path]:
    """Beside this file, or, where edgeml runs from its source tree, where the installer put what it built."""
    places = [Path(__file__).with_name(_NAME)]
    with suppress(PackageNotFoundError):
        places.append(Path(str(distribution("edgeml").locate_file(f"edgeml/runtime/plugin/{_NAME}"))))
    return places


def _mend() -> str:
    root = Path(__file__).parents[3]
    if (root / "CMakeLists.txt").is_file():
        return f"pip install --no-deps --editable {root}"
    return "pip install --no-deps --force-reinstall DIRECTORY, which is that of edgeml's sources"


def _text(library: ctypes.CDLL, function: str) -> str:
    call = getattr(library, function)
    call.restype = ctypes.c_char_p
    value: bytes = call()
    return value.decode("ascii")
