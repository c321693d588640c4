from __future__ import annotations

import ctypes
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from edgeml.core.errors import EdgeMLError, MissingError
from edgeml.core.target import PRESETS, Target
from edgeml.runtime.tvm import target_libraries as module
from edgeml.runtime.tvm.foreign_wheels import Wheel
from edgeml.runtime.tvm.target_libraries import (
    fetch_runtime_libraries,
    libraries_directory,
    machine_of,
    runtime_libraries,
    tvm_versions,
)

pytestmark = pytest.mark.tvm


@pytest.fixture
def empty_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """Unpacking what wheels hold, without wheels; returns the requirements asked for."""
    asked: list[tuple[str, ...]] = []

    def unpack(requirements: tuple[str, ...], directory: Path, *, machine: str, **_: object) -> tuple[Wheel, ...]:
        asked.append(requirements)
        for name in ("tvm/lib/libtvm_runtime.so", "tvm_ffi/lib/libtvm_ffi.so", "tvm_ffi/__init__.py"):
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            (directory / name).write_text(f"{name} for {machine}")
        return (Wheel("apache_tvm.whl", "0" * 64),)

    monkeypatch.setattr(module, "unpack_wheels", unpack)
    return asked


def test_this_machines_libraries_are_those_of_the_installed_packages_which_are_not_imported() -> None:
    code = (
        "import sys\nfrom edgeml.core.target import PRESETS\n"
        "from edgeml.runtime.tvm.target_libraries import fetch_runtime_libraries\n"
        "found = fetch_runtime_libraries(PRESETS['host'])\n"
        "assert not {'tvm', 'tvm_ffi'} & set(sys.modules)\n"
        "print(found.libtvm_ffi, found.libtvm_runtime, found.python_packages, sep='\\n')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    ffi, runtime, packages = done.stdout.split()
    loads = "import ctypes, sys; [ctypes.CDLL(path, ctypes.RTLD_GLOBAL) for path in sys.argv[1:]]"
    subprocess.run([sys.executable, "-c", loads, ffi, runtime], check=True)
    assert (Path(packages) / "tvm_ffi" / "__init__.py").is_file()
    assert ctypes.sizeof(ctypes.c_void_p) == 8


def test_libraries_that_are_not_there_are_told_with_the_command_that_fetches_them(empty_cache: Path) -> None:
    with pytest.raises(MissingError, match=r"for aarch64 .* python -m edgeml\.runtime\.tvm\.target_libraries rpi4$"):
        runtime_libraries(PRESETS["rpi4"])
    with pytest.raises(MissingError, match=r"target_libraries 'llvm -triple=aarch64-linux-gnu'$"):
        runtime_libraries(Target.parse("llvm -triple=aarch64-linux-gnu"))


def test_what_nobody_publishes_is_told_with_the_way_round_and_found_where_that_leads(empty_cache: Path) -> None:
    with pytest.raises(MissingError, match=r"nobody publishes them for armv7l: build .* on the board") as refused:
        fetch_runtime_libraries(PRESETS["rpi-armv7"])
    directory = Path(str(refused.value).rpartition(" into ")[2])
    directory.mkdir(parents=True)
    for name in ("libtvm_runtime.so", "libtvm_ffi.so"):
        (directory / name).touch()
    assert runtime_libraries(PRESETS["rpi-armv7"]).libtvm_runtime == directory / "libtvm_runtime.so"
    assert runtime_libraries(PRESETS["rpi-armv7"]).python_packages is None


def test_fetched_libraries_are_of_the_installed_versions_and_recorded(
    empty_cache: Path, no_network: list[tuple[str, ...]]
) -> None:
    found = fetch_runtime_libraries(PRESETS["jetson-orin"])
    assert found == fetch_runtime_libraries(PRESETS["rpi4"]) == runtime_libraries(PRESETS["rpi5"])
    assert len(no_network) == 1
    assert no_network[0][:2] == tuple(f"{name}=={number}" for name, number in tvm_versions())
    assert found.libtvm_runtime.read_text() == "tvm/lib/libtvm_runtime.so for aarch64"
    assert found.libtvm_runtime_cuda is None
    assert found.python_packages is not None
    assert [path.name for path in found.python_packages.iterdir()] == ["tvm_ffi"]
    record = json.loads((libraries_directory("aarch64") / "libraries.json").read_text())
    assert record["sha256"]["libtvm_ffi.so"] == hashlib.sha256(found.libtvm_ffi.read_bytes()).hexdigest()
    assert record["wheels"] == [{"file": "apache_tvm.whl", "sha256": "0" * 64}]


def test_a_download_that_fails_leaves_nothing(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object, directory: Path, **__: object) -> tuple[Wheel, ...]:
        directory.mkdir(parents=True)
        (directory / "half").touch()
        raise EdgeMLError("pip cannot fetch it")

    monkeypatch.setattr(module, "unpack_wheels", fail)
    with pytest.raises(EdgeMLError, match="pip cannot fetch it"):
        fetch_runtime_libraries(PRESETS["rpi4"])
    assert list(libraries_directory("aarch64").parent.iterdir()) == []


@pytest.mark.parametrize(
    ("target", "machine"),
    [
        ("rpi4", "aarch64"),
        ("llvm -triple=arm64-linux-gnu", "aarch64"),
        ("rpi-armv7", "armv7l"),
        ("jetson-orin", "aarch64"),
    ],
)
def test_a_targets_machine_is_that_of_its_processor(target: str, machine: str) -> None:
    assert machine_of(Target.parse(target)) == machine


@pytest.mark.parametrize(("argument", "code"), [("nonsense", 2), ("rpi-armv7", 3)])
def test_the_program_tells_in_one_line(argument: str, code: int, empty_cache: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module.__name__, argument], capture_output=True, text=True, check=False
    )
    assert done.returncode == code
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
