from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edgeml.core.errors import EdgeMLError, MissingError
from edgeml.runtime.emulated import machine as module
from edgeml.runtime.emulated import machine_setup as setup
from edgeml.runtime.emulated.machine import EmulatedMachine, emulated_machine, find_qemu, machine_directory

# Sums four products of bytes in one instruction, which ARM introduced after the Cortex-A72.
DOT_PRODUCT = """
#include <cstdio>
int main() {
  asm volatile(".arch armv8.2-a+dotprod\\n sdot v0.4s, v1.16b, v2.16b" ::: "v0");
  std::puts("sdot");
}
"""


@pytest.fixture
def empty_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_machine_without_the_emulator_is_told_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(module, "install_command", lambda packages, otherwise: f"install {packages['debian']}")
    with pytest.raises(MissingError, match=r"qemu-aarch64, .* is not installed: install qemu-user-static"):
        find_qemu()


@pytest.mark.tvm
def test_a_device_that_is_not_set_up_is_told_the_command(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_qemu", lambda: Path("qemu"))
    with pytest.raises(MissingError, match=r"with: python -m edgeml\.runtime\.emulated\.machine_setup$"):
        emulated_machine()


@pytest.mark.tvm
def test_a_setup_that_fails_leaves_nothing(empty_cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(setup, "find_qemu", lambda: Path("qemu"))
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "apt-get").write_text(
        "#!/bin/sh\necho 'W: no' >&2\necho 'E: Unable to locate package python3' >&2\nexit 100\n"
    )
    (tools / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", str(tools), prepend=":")
    with pytest.raises(EdgeMLError, match=r"apt-get failed: E: Unable to locate package python3$"):
        setup.set_up_emulated_machine()
    assert list(machine_directory().parent.iterdir()) == []


@pytest.mark.tvm
def test_a_system_without_apt_is_told_what_it_takes(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "find_qemu", lambda: Path("qemu"))
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(MissingError, match=r"apt-get is not installed, .* set it up on Debian or Ubuntu"):
        setup.set_up_emulated_machine()


@pytest.mark.qemu
def test_a_second_setup_finds_the_machine_of_the_first(machine: EmulatedMachine) -> None:
    assert setup.set_up_emulated_machine() == machine


@pytest.mark.qemu
def test_programs_run_as_on_arm_and_see_an_arm_processor(machine: EmulatedMachine) -> None:
    code = (
        "import platform, numpy; print(platform.machine(), numpy.__file__); "
        "print([line for line in open('/proc/cpuinfo') if 'part' in line][0])"
    )
    done = subprocess.run(machine.python_command("-c", code), capture_output=True, text=True, check=True)
    kind, place, processor = done.stdout.split(maxsplit=2)
    assert kind == "aarch64"
    assert Path(place).is_relative_to(machine.packages)
    assert "0xd08" in processor


@pytest.mark.qemu
def test_an_instruction_that_the_board_lacks_ends_the_program(machine: EmulatedMachine, tmp_path: Path) -> None:
    from edgeml.compiler.toolchains import linker
    from edgeml.core.target import PRESETS

    source, program = tmp_path / "sdot.cc", tmp_path / "sdot"
    source.write_text(DOT_PRODUCT)
    linker(PRESETS["rpi4"]).compile("-o", program, source)
    for cpu, code in (("cortex-a72", -4), ("cortex-a76", 0), ("max", 0), ("one-we-never-heard-of", 0)):
        done = subprocess.run(machine.command(program, cpu=cpu), capture_output=True, text=True, check=False)
        assert done.returncode == code, (cpu, done.stderr)
        assert done.stdout == ("sdot\n" if code == 0 else "")


def test_the_modules_that_a_board_runs_need_neither_tvm_nor_onnx() -> None:
    code = (
        "import sys, edgeml.runtime.session_server, edgeml.runtime.tvm.session, edgeml.runtime.emulated.device; "
        "assert not {'tvm', 'tvm_ffi', 'onnx', 'onnxruntime'} & set(sys.modules), sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
