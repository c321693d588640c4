from __future__ import annotations

import platform
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from edgeml.compiler import toolchains
from edgeml.compiler.toolchains import (
    check_cuda_arch,
    cuda_architectures,
    gnu_prefix,
    is_native,
    linker,
    nvcc,
    override_variable,
)
from edgeml.core.errors import EdgeMLError, MissingError, UsageError
from edgeml.core.target import PRESETS, Target

OBJECT = 'extern "C" float twice(float x) { return 2 * x; }\n'


def program(directory: Path, name: str, text: str) -> Path:
    path = directory / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without any tool: the returned directory is all of PATH."""
    for variable in ("CXX", "EDGEML_CXX", "EDGEML_CXX_AARCH64_LINUX_GNU", "CUDA_HOME", "CUDA_PATH"):
        monkeypatch.delenv(variable, raising=False)
    directory = tmp_path / "bin"
    directory.mkdir()
    monkeypatch.setenv("PATH", str(directory))
    return directory


@pytest.mark.parametrize(
    ("triple", "prefix"),
    [
        ("aarch64-linux-gnu", "aarch64-linux-gnu"),
        ("aarch64-unknown-linux-gnu", "aarch64-linux-gnu"),
        ("arm64-linux-gnu", "aarch64-linux-gnu"),
        ("armv7l-linux-gnueabihf", "arm-linux-gnueabihf"),
        ("riscv64-unknown-linux-gnu", "riscv64-linux-gnu"),
        ("x86_64-pc-linux-gnu", "x86_64-linux-gnu"),
    ],
)
def test_llvms_triples_are_told_in_gnus_names(triple: str, prefix: str) -> None:
    assert gnu_prefix(triple) == prefix


@pytest.mark.parametrize("preset", ["host", "rpi4", "rpi-armv7", "jetson-orin"])
def test_a_found_compiler_makes_code_for_its_machine(preset: str, tmp_path: Path) -> None:
    target = PRESETS[preset]
    processor = PRESETS[target.host] if target.kind == "cuda" else target
    try:
        toolchain = linker(processor)
    except MissingError as error:
        pytest.skip(str(error))
    source, library = tmp_path / "twice.cc", tmp_path / "twice.so"
    source.write_text(OBJECT)
    toolchain.compile("-c", "-fPIC", "-o", tmp_path / "twice.o", source)
    link = toolchain.fcompile()
    link(str(library), [str(tmp_path / "twice.o")], options=["-O1"])
    triple = getattr(link, "get_target_triple")().strip()  # noqa: B009 (TVM looks for it by name)
    assert gnu_prefix(triple) == (toolchain.prefix or triple)
    if toolchain.readelf is None:
        pytest.skip("there is no readelf for it")
    listed = subprocess.run([toolchain.readelf, "-h", library], capture_output=True, text=True, check=True).stdout
    machine = {"rpi4": "AArch64", "jetson-orin": "AArch64", "rpi-armv7": "ARM"}.get(preset)
    assert "Type:                              DYN" in listed
    if machine is not None:
        assert f"Machine:                           {machine}\n" in listed
    assert toolchain.version


def test_a_missing_compiler_is_told_with_the_one_command_that_installs_it(
    nothing_installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(toolchains, "install_command", lambda packages, otherwise: f"install {packages['debian']}")
    for preset, package in {
        "host": "g++",
        "rpi4": "g++-aarch64-linux-gnu",
        "rpi-armv7": "g++-arm-linux-gnueabihf",
        "llvm -triple=x86_64-linux-gnux32": "g++-x86-64-linux-gnux32",
    }.items():
        with pytest.raises(MissingError, match=f"install {package.replace('+', '[+]')}$"):
            linker(Target.parse(preset))


def test_where_no_package_is_known_the_variable_to_set_is_named(
    nothing_installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(toolchains, "install_command", lambda packages, otherwise: otherwise)
    with pytest.raises(MissingError, match="export EDGEML_CXX_RISCV64_LINUX_GNU='COMMAND'"):
        linker(Target.parse("llvm -triple=riscv64-linux-gnu"))


def test_the_environment_names_another_compiler_with_its_options(
    nothing_installed: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = program(nothing_installed, "other++", 'echo "$@" >' + str(tmp_path / "arguments"))
    monkeypatch.setenv(override_variable("aarch64-linux-gnu"), "other++ --target=aarch64-linux-gnu")
    toolchain = linker(PRESETS["rpi4"])
    assert toolchain.cxx == ("other++", "--target=aarch64-linux-gnu")
    toolchain.fcompile()("out.so", ["a.o", "b.o"], options=["-lm"])
    assert (tmp_path / "arguments").read_text() == "--target=aarch64-linux-gnu -shared -fPIC -o out.so a.o b.o -lm\n"
    monkeypatch.setenv("CXX", str(other))
    assert linker(PRESETS["host"]).cxx == (str(other),)
    monkeypatch.setenv("EDGEML_CXX", "nothing++")
    with pytest.raises(MissingError, match=r"EDGEML_CXX is 'nothing[+][+]', and there is no such program"):
        linker(PRESETS["host"])
    monkeypatch.setenv("EDGEML_CXX", "'")
    with pytest.raises(UsageError, match="is no command"):
        linker(PRESETS["host"])


def test_a_compiler_that_fails_is_told_by_its_first_error(nothing_installed: Path) -> None:
    program(nothing_installed, "c++", "echo 'a.o: note: x' >&2; echo 'a.o: error: bad' >&2; echo more >&2; exit 7")
    with pytest.raises(EdgeMLError, match=r"^c[+][+] failed with code 7: a\.o: error: bad$"):
        linker(PRESETS["host"]).fcompile()("out.so", "a.o")


def test_this_machines_own_triple_needs_no_cross_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert is_native(PRESETS["host"])
    assert is_native(PRESETS["rpi4"])
    assert not is_native(PRESETS["rpi-armv7"])
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    assert not is_native(PRESETS["rpi4"])


@pytest.mark.parametrize("arch", ["sm_53", "sm_62", "sm_72"])
def test_a_gpu_older_than_cuda_13_serves_is_refused_with_the_way_round(arch: str, nothing_installed: Path) -> None:
    with pytest.raises(UsageError, match=f"none for {arch} .* compile for the board's processor instead") as refused:
        linker(Target.parse(f"cuda -arch={arch}"))
    assert "\n" not in str(refused.value)


def test_without_nvcc_an_architecture_is_believed_and_with_it_looked_up(
    nothing_installed: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(toolchains, "nvcc", lambda: (_ for _ in ()).throw(MissingError("no nvcc")))
    check_cuda_arch(Target.parse("cuda -arch=sm_99"))
    monkeypatch.undo()
    home = tmp_path / "cuda"
    (home / "bin").mkdir(parents=True)
    says = 'case "$1" in --version) echo "release 13.7, V13.7.1";; *) printf "sm_110\\nsm_90\\ncompute_90\\n";; esac'
    program(home / "bin", "nvcc", says)
    monkeypatch.setenv("CUDA_HOME", str(home))
    assert cuda_architectures() == ("sm_90", "sm_110")
    check_cuda_arch(Target.parse("cuda -arch=sm_90a"))
    with pytest.raises(UsageError, match=r"nvcc 13\.7 makes no code for sm_99; allowed: sm_90, sm_110$"):
        check_cuda_arch(Target.parse("cuda -arch=sm_99"))


def test_a_wrong_cuda_home_is_told(nothing_installed: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    with pytest.raises(MissingError, match=r"CUDA_HOME is .* unset or correct it"):
        nvcc()


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc is not installed")
def test_the_cuda_presets_are_architectures_of_the_nvcc_here() -> None:
    for target in PRESETS.values():
        if target.kind == "cuda":
            check_cuda_arch(target)


def test_the_module_needs_neither_tvm_nor_onnx() -> None:
    code = "import sys, edgeml.compiler.toolchains; assert not {'tvm', 'onnx', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
