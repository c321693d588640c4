"""Runs every command the README shows, so that none of them can go stale."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# `make test` is how this file runs; `make demo` has a test of its own below.
RUN_ELSEWHERE = {"make demo", "make test"}


def commands() -> list[str]:
    """The lines that begin with `$ ` in the README's console blocks, in order."""
    blocks = re.findall(r"```console\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    lines = [line[2:] for block in blocks for line in block.replace("\\\n", "").splitlines() if line.startswith("$ ")]
    return [line for line in lines if line not in RUN_ELSEWHERE]


def run(command: list[str], directory: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.torch
@pytest.mark.timeout(900)
def test_every_readme_command_runs_in_the_order_shown(tmp_path: Path) -> None:
    assert commands()
    for line in commands():
        completed = run(shlex.split(line), tmp_path)
        assert completed.returncode == 0, f"{line}\n{completed.stderr}"


def test_the_readme_names_the_two_set_up_commands_and_the_makefile_has_them() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for command in RUN_ELSEWHERE:
        assert f"$ {command}" in readme
        assert re.search(rf"^{command.removeprefix('make ')}:", makefile, re.MULTILINE)


@pytest.mark.parametrize(
    "data",
    [pytest.param("digits", marks=pytest.mark.slow), pytest.param("fashion-mnist", marks=pytest.mark.long)],
)
@pytest.mark.torch
@pytest.mark.timeout(900)
def test_the_demo_reaches_its_accuracy_and_leaves_a_report(data: str, tmp_path: Path) -> None:
    """The second is `make demo`, where Fashion-MNIST is on the machine; where it is not, the demo takes digits."""
    completed = run(["edgeml", "demo", "--data", data, "--output", str(tmp_path), "--json"], tmp_path)
    assert completed.returncode == 0, completed.stderr
    told = json.loads(completed.stdout)
    assert told["data"] == "digits" or told["top1"] >= 0.91
    results = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    accuracy = {
        (contender["runtime"], contender["precision"]): contender["accuracy"]["value"]
        for contender in results["contenders"]
    }
    assert set(accuracy) >= {("onnxruntime", each) for each in ("fp32", "fp16", "int8")} | {
        ("tvm", "fp32"),
        ("tvm", "int8"),
    }
    assert abs(accuracy["tvm", "fp32"] - accuracy["onnxruntime", "fp32"]) <= 0.003
    assert told["data"] == "digits" or abs(accuracy["onnxruntime", "int8"] - accuracy["onnxruntime", "fp32"]) <= 0.005
    assert (tmp_path / "report.html").stat().st_size < 1_000_000
    assert len(told["verdicts"]) == 5
