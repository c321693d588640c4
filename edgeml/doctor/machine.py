"""What is installed on this machine that edgeml can use; nothing heavy is imported and nothing is built."""

from __future__ import annotations

import os
import platform
import sys
from functools import partial
from importlib.metadata import PackageNotFoundError, version

from edgeml import __version__
from edgeml.compiler.toolchains import linker, nvcc, nvcc_version
from edgeml.core.errors import MissingError
from edgeml.core.finding import Finding, find
from edgeml.core.target import PRESETS
from edgeml.runtime.emulated.machine import emulated_machine, find_qemu
from edgeml.runtime.plugin.library import load_plugin
from edgeml.runtime.threads import available_threads

_LEAST_PYTHON = (3, 10)
# Package -> the extra of edgeml that brings it; "" for the base install, which nothing works without.
_PACKAGES = {
    "onnx": "",
    "onnxruntime": "",
    "apache-tvm": "tvm",
    "apache-tvm-ffi": "tvm",
    "torch": "train",
}


def examine_machine() -> tuple[Finding, ...]:
    """What edgeml has to work with here, each thing with the command that installs it where it is absent."""
    return (
        find("python", _python),
        find("edgeml", lambda: __version__),
        find("processor", _processor),
        *(find(name, partial(_package, name), needed=not extra) for name, extra in _PACKAGES.items()),
        find("binary kernels", _kernels, needed=False),
        *(
            find(f"C++ for {name}", partial(_compiler, preset), needed=False)
            for name, preset in (("this machine", "host"), ("64-bit ARM", "rpi4"), ("32-bit ARM", "rpi-armv7"))
        ),
        find("nvcc", lambda: f"{nvcc_version()} in {nvcc()}", needed=False),
        find("ARM emulator", lambda: str(find_qemu()), needed=False),
        find("emulated ARM device", lambda: str(emulated_machine().sysroot), needed=False),
    )


def _python() -> str:
    if sys.version_info < _LEAST_PYTHON:
        raise MissingError(f"Python is {platform.python_version()}; edgeml needs 3.10 or newer")
    return f"{platform.python_version()} in {sys.executable}"


def _processor() -> str:
    return f"{platform.machine()}, {available_threads()} of {os.cpu_count()} cores for this process"


def _kernels() -> str:
    plugin = load_plugin()
    return f"{plugin.kernel} (here: {', '.join(plugin.kernels)}) in {plugin.path}"


def _compiler(preset: str) -> str:
    return linker(PRESETS[preset]).version


def _package(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError as error:
        wanted = f"'edgeml[{_PACKAGES[name]}]'" if _PACKAGES[name] else name
        raise MissingError(f"{name} is not installed; install it with: pip install {wanted}") from error
