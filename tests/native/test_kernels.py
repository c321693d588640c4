"""Every kernel that this machine or its ARM emulator runs gives numpy's results in thousands of random layers."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# `make test-long` plays ten times as many.
CASES = int(os.environ.get("EDGEML_KERNEL_CASES", "1000"))
RESIDUAL_CASES = CASES // 5
PROGRAMS = ("play_cases", "play_residual_conv_cases")
ARM = (
    "-DCMAKE_SYSTEM_NAME=Linux",
    "-DCMAKE_SYSTEM_PROCESSOR=aarch64",
    "-DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++",
    "-DCMAKE_EXE_LINKER_FLAGS=-static",
)

pytestmark = pytest.mark.slow


def built(directory: Path, *options: str) -> Path:
    """The directory with the programs built in it."""
    for tool in ("cmake", *(option.partition("=")[2] for option in options if "COMPILER" in option)):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    commands = (
        ["cmake", "-S", str(ROOT), "-B", str(directory), "-DEDGEML_BUILD_TESTS=ON", *options],
        ["cmake", "--build", str(directory), "--parallel", "2", "--target", *PROGRAMS, "play_residual_cases"],
    )
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "warning" not in done.stdout + done.stderr
    return directory


@pytest.fixture(scope="module")
def host_build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("host"))


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written("write_cases.py", tmp_path_factory.mktemp("cases") / "cases.bin", CASES)


@pytest.fixture(scope="module")
def residual_cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written("write_residual_cases.py", tmp_path_factory.mktemp("cases") / "residual.bin", RESIDUAL_CASES)


def written(program: str, file: Path, cases: int) -> Path:
    subprocess.run(
        [sys.executable, str(Path(__file__).with_name(program)), str(file), "--cases", str(cases)], check=True
    )
    return file


def play(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)


def test_the_kernels_of_this_machine_are_exact(host_build: Path, cases: Path, residual_cases: Path) -> None:
    for program, file, count in zip(PROGRAMS, (cases, residual_cases), (CASES, RESIDUAL_CASES), strict=True):
        done = play(host_build / program, file)
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"scalar: {count} cases exact" in done.stdout
    done = play(host_build / "play_residual_cases", str(RESIDUAL_CASES))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"scalar: {RESIDUAL_CASES} residual cases exact" in done.stdout


@pytest.mark.qemu
def test_the_kernels_of_64_bit_arm_are_exact(cases: Path, residual_cases: Path, tmp_path: Path) -> None:
    emulator = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
    if emulator is None:
        pytest.skip("qemu-aarch64 is not installed")
    directory = built(tmp_path, *ARM)
    for program, file, count in zip(PROGRAMS, (cases, residual_cases), (CASES, RESIDUAL_CASES), strict=True):
        done = play(emulator, directory / program, file)
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.splitlines() == [f"{kernel}: {count} cases exact" for kernel in ("scalar", "neon")]
    done = play(emulator, directory / "play_residual_cases", str(RESIDUAL_CASES))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines() == [f"{each}: {RESIDUAL_CASES} residual cases exact" for each in ("scalar", "neon")]


def test_one_wrong_count_is_told(host_build: Path, cases: Path, tmp_path: Path) -> None:
    content = bytearray(cases.read_bytes())
    content[-4] ^= 2  # the lowest byte of the last count
    wrong = tmp_path / "wrong.bin"
    wrong.write_bytes(content)
    done = play(host_build / "play_cases", wrong)
    assert done.returncode == 1
    assert done.stdout.startswith(f"case {CASES - 1}, scalar: output ")


def test_one_wrong_pixel_of_a_map_is_told(host_build: Path, residual_cases: Path, tmp_path: Path) -> None:
    content = bytearray(residual_cases.read_bytes())
    content[-1] ^= 1
    wrong = tmp_path / "wrong.bin"
    wrong.write_bytes(content)
    done = play(host_build / "play_residual_conv_cases", wrong)
    assert done.returncode == 1
    assert done.stdout.startswith(f"case {RESIDUAL_CASES - 1}, scalar: changed pixel ")


@pytest.mark.parametrize("change", [lambda content: content[:-1], lambda content: content + b"\0", lambda _: b"other"])
def test_a_file_of_another_length_or_kind_is_refused(
    host_build: Path, cases: Path, tmp_path: Path, change: Callable[[bytes], bytes]
) -> None:
    other = tmp_path / "other.bin"
    other.write_bytes(change(cases.read_bytes()))
    done = play(host_build / "play_cases", other)
    assert done.returncode == 2
    assert done.stderr.startswith("play_cases: ")


@pytest.mark.skipif(platform.machine() != "x86_64", reason="elsewhere no file uses more than the least instructions")
def test_no_function_shared_with_other_files_is_compiled_for_newer_processors(host_build: Path) -> None:
    objects = sorted(host_build.rglob("*_avx*.o"))
    assert objects
    for file in objects:
        # The linker keeps one copy of a weak function, of any file: the others' could then not run on older processors.
        symbols = subprocess.run(["nm", "-C", str(file)], capture_output=True, text=True, check=True).stdout
        assert [line for line in symbols.splitlines() if line[17:18] in {"W", "V", "u"}] == []
