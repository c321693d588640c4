from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgeml.cli.export import command
from edgeml.cli.main import COMMANDS
from edgeml.core.errors import UsageError

SMALL = ["tinynet-e", "--classes", "10", "--in-channels", "1", "--resolution", "28"]


def _run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(command, arguments, catch_exceptions=False, standalone_mode=False)
    return (result.return_value or 0) if result.exit_code == 0 else result.exit_code, result.stdout


def test_the_help_line_is_the_group_s() -> None:
    assert command.get_short_help_str(200) == COMMANDS["export"][1]


def test_json_holds_the_manifest_and_the_parity_figures(tmp_path: Path) -> None:
    output = tmp_path / "e8.onnx"
    code, text = _run(*SMALL, "--output", str(output), "--precision", "int8", "--calibration", "digits", "--json")
    assert code == 0
    value = json.loads(text)
    assert set(value) == {
        "schema_version",
        "artifact",
        "parity",
        "float_nodes",
        "warnings",
        "compression",
        "compression_speed",
        "repository",
    }
    assert value["artifact"]["precision"] == "int8"
    assert value["parity"]["passed"]
    assert set(value["float_nodes"][0]) == {"name", "reason", "share_of_macs"}
    assert json.loads((tmp_path / "e8.onnx.edgeml.json").read_text()) == value["artifact"]


def test_int8_without_calibration_is_refused_before_anything_is_built(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--calibration DATA"):
        CliRunner().invoke(
            command, [*SMALL, "--output", str(tmp_path / "m.onnx"), "--precision", "int8"], catch_exceptions=False,
            standalone_mode=False,
        )  # fmt: skip


def test_calibration_on_the_test_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="test split"):
        _run(*SMALL, "--output", str(tmp_path / "m.onnx"), "--precision", "int8", "--calibration", "digits:test")


def test_options_of_a_network_cannot_be_given_with_an_onnx_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--classes, --opset"):
        _run("m.onnx", "--output", str(tmp_path / "n.onnx"), "--classes", "3", "--opset", "18")
