"""Every kernel that this machine or its ARM emulator runs gives numpy's counts in 10,000 random convolutions."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CASES = 10_000
ARM = (
    "-DCMAKE_SYSTEM_NAME=Linux",
    "-DCMAKE_SYSTEM_PROCESSOR=aarch64",
    "-DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++",
    "-DCMAKE_EXE_LINKER_FLAGS=-static",
)

pytestmark = pytest.mark.slow


def built(directory: Path, *options: str) -> Path:
    """The directory with play_cases built in it."""
    for tool in ("cmake", *(option.partition("=")[2] for option in options if "COMPILER" in option)):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    commands = (
        ["cmake", "-S", str(ROOT), "-B", str(directory), "-DEDGEML_BUILD_TESTS=ON", *options],
        ["cmake", "--build", str(directory), "--target", "play_cases"],
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
    file = tmp_path_factory.mktemp("cases") / "cases.bin"
    program = Path(__file__).with_name("write_cases.py")
    subprocess.run([sys.executable, str(program), str(file), "--cases", str(CASES)], check=True)
    return file


def play(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)


def test_the_kernels_of_this_machine_are_exact(host_build: Path, cases: Path) -> None:
    done = play(host_build / "play_cases", cases)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"scalar: {CASES} cases exact" in done.stdout


@pytest.mark.qemu
def test_the_kernels_of_64_bit_arm_are_exact(cases: Path, tmp_path: Path) -> None:
    emulator = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
    if emulator is None:
        pytest.skip("qemu-aarch64 is not installed")
    done = play(emulator, built(tmp_path, *ARM) / "play_cases", cases)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines() == [f"{kernel}: {CASES} cases exact" for kernel in ("scalar", "neon")]


def test_one_wrong_count_is_told(host_build: Path, cases: Path, tmp_path: Path) -> None:
    content = bytearray(cases.read_bytes())
    content[-4] ^= 2  # the lowest byte of the last count
    wrong = tmp_path / "wrong.bin"
    wrong.write_bytes(content)
    done = play(host_build / "play_cases", wrong)
    assert done.returncode == 1
    assert done.stdout.startswith(f"case {CASES - 1}, scalar: output ")


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
