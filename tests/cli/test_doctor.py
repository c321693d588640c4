"""`edgeml doctor` as users call it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

SCHEMA = json.loads((Path(__file__).parents[2] / "docs/schemas/doctor.schema.json").read_text(encoding="utf-8"))


def edgeml(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    import os

    command = [sys.executable, "-m", "edgeml.cli.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | environment)


def test_the_machine_is_shown_with_a_way_to_get_what_is_absent(tmp_path: Path) -> None:
    done = edgeml("doctor", PATH="", CUDA_HOME=str(tmp_path), XDG_CACHE_HOME=str(tmp_path))
    assert done.returncode == 0, done.stderr
    lines = {line[9:30].strip(): (line[:9].strip(), line[30:]) for line in done.stdout.splitlines()}
    assert lines["python"][0] == lines["onnxruntime"][0] == "ok"
    for name in ("C++ for 64-bit ARM", "nvcc", "ARM emulator", "emulated ARM device"):
        status, detail = lines[name]
        assert status == "absent"
        assert any(word in detail for word in ("install", "correct it")), detail


def test_json_is_one_object_of_the_schema() -> None:
    done = edgeml("doctor", "--json")
    value = json.loads(done.stdout)
    jsonschema.validate(value, SCHEMA)
    assert value["target"] is None
    assert done.stderr == ""


@pytest.mark.tvm
def test_a_target_is_proven_and_told_in_json() -> None:
    done = edgeml("doctor", "--target", "host", "--json")
    assert done.returncode == 0, done.stderr
    value = json.loads(done.stdout)
    jsonschema.validate(value, SCHEMA)
    assert value["target"] == "host"
    assert {finding["status"] for finding in value["findings"]} == {"ok"}


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("--target", "rpi4"), 3, "not ready for rpi4: C++ compiler: "),
        (("--target", "rpi4", "--json"), 3, "not ready for rpi4: C++ compiler: "),
        (("--target", "rpi9"), 2, "unknown target 'rpi9'; allowed: host, rpi3, "),
        (("--target", "jetson-nano"), 2, "sm_53, and CUDA 13 makes code for sm_75 and newer only"),
    ],
)
def test_what_is_missing_or_wrong_ends_with_its_exit_code_and_one_line(
    arguments: tuple[str, ...], code: int, told: str
) -> None:
    done = edgeml("doctor", *arguments, PATH="", EDGEML_CXX_AARCH64_LINUX_GNU="")
    assert done.returncode == code
    assert told in done.stderr
    assert done.stderr.count("\n") == 1
    if "--json" in arguments:
        jsonschema.validate(json.loads(done.stdout), SCHEMA)
