"""The trial of a target's tool chain, with real tools and with ones that are absent or wrong."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from edgeml.compiler import toolchains, trial_library
from edgeml.core.errors import EdgeMLError, MissingError
from edgeml.core.finding import Finding, find, raise_for
from edgeml.core.target import PRESETS, Target
from edgeml.doctor import target_trial
from edgeml.doctor.target_trial import try_target
from edgeml.runtime.emulated.machine import emulated_machine

pytestmark = pytest.mark.tvm


def outcomes(target: Target) -> dict[str, Finding]:
    return {finding.name: finding for finding in try_target(target)}


def program(directory: Path, name: str, text: str) -> Path:
    path = directory / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_this_machine_passes_every_step() -> None:
    found = outcomes(PRESETS["host"])
    assert [(finding.name, finding.detail) for finding in found.values() if finding.status != "ok"] == []
    assert found["C++ program runs"].detail.startswith("it printed 338350")
    assert found["TVM library runs"].detail.startswith("here: within ")


@pytest.mark.qemu
@pytest.mark.slow
def test_a_raspberry_pi_4_is_proven_on_the_emulated_device() -> None:
    try:
        emulated_machine()
        toolchains.linker(PRESETS["rpi4"])
    except MissingError as error:
        pytest.skip(str(error))
    found = outcomes(PRESETS["rpi4"])
    needed = [finding for finding in found.values() if finding.needed]
    assert [(finding.name, finding.detail) for finding in needed if finding.status != "ok"] == []
    assert "on qemu://aarch64, a cortex-a72: within" in found["TVM library runs"].detail


@pytest.mark.qemu
def test_32_bit_arm_is_proven_as_far_as_it_can_be() -> None:
    try:
        toolchains.linker(PRESETS["rpi-armv7"])
    except MissingError as error:
        pytest.skip(str(error))
    found = outcomes(PRESETS["rpi-armv7"])
    assert found["C++ program runs"].status == "ok", found
    assert found["TVM library"].detail.startswith("built for arm (32 bits")
    assert (found["TVM library runs"].status, found["TVM runtime for it"].status) == ("skipped", "absent")
    raise_for(tuple(found.values()), "not ready")  # what nobody publishes is no fault of this machine


def test_without_a_compiler_the_steps_that_need_it_are_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("EDGEML_CXX_AARCH64_LINUX_GNU", raising=False)
    found = outcomes(PRESETS["rpi4"])
    assert {name: finding.status for name, finding in found.items()} == {
        "C++ compiler": "absent",
        "C++ program": "skipped",
        "TVM library": "skipped",
    }
    with pytest.raises(MissingError, match=r"^not ready for rpi4: C\+\+ compiler: .*aarch64-linux-gnu-g\+\+"):
        raise_for(tuple(found.values()), "not ready for rpi4")


def test_a_compiler_for_another_machine_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEML_CXX_AARCH64_LINUX_GNU", "c++")
    found = outcomes(PRESETS["rpi4"])
    assert found["C++ program runs"].status in {"absent", "failed"}
    assert found["TVM library"].status == "failed"  # objects for ARM do not link with this machine's compiler
    with pytest.raises(EdgeMLError):
        raise_for(tuple(found.values()), "not ready")


def test_a_program_that_prints_something_else_fails(tmp_path: Path) -> None:
    path = program(tmp_path, "trial", "echo 42")
    found = find("run", lambda: target_trial._run_program(PRESETS["host"], path))
    assert (found.status, found.detail) == (
        "failed",
        "the program ended with code 0 and printed '42', not 338350",
    )


def test_a_library_with_another_result_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def wrong(x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return trial_library.expected(x) + np.float32(1e-3)

    monkeypatch.setattr(target_trial, "expected", wrong)
    assert outcomes(PRESETS["host"])["TVM library runs"].detail.startswith("its result differs from numpy's by 0.001")


@pytest.mark.parametrize(
    ("script", "status", "told"),
    [
        ("kill -SEGV $$", "failed", "TVM was ended by signal 11"),
        ("echo 'Traceback' >&2; echo 'RuntimeError: no' >&2; exit 1", "failed", "RuntimeError: no"),
        ("echo 'tvm is not installed' >&2; exit 3", "absent", "tvm is not installed"),
    ],
)
def test_a_builder_that_dies_is_one_line(
    script: str, status: str, told: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "executable", str(program(tmp_path, "python", script)))
    found = find("build", lambda: target_trial._build_library(PRESETS["host"], tmp_path / "a.so"))
    assert (found.status, found.detail) == (status, told)


def test_a_gpu_that_is_too_old_is_told_by_its_step() -> None:
    found = next(each for each in try_target(Target.parse("cuda -arch=sm_53")) if each.name == "CUDA code")
    assert found.status == "failed"
    assert "makes code for sm_75 and newer" in found.detail
