from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgeml.cli import check, export
from edgeml.cli.main import COMMANDS
from edgeml.core.errors import CheckFailedError
from tests.export.faults import scale_weights

SMALL = ["--classes", "10", "--in-channels", "1", "--resolution", "28"]


def test_the_help_line_is_the_group_s() -> None:
    assert check.command.get_short_help_str(200) == COMMANDS["check"][1]


def test_a_fresh_export_agrees_and_an_altered_one_is_told_with_its_layer(tmp_path: Path) -> None:
    import onnx

    path = str(tmp_path / "e.onnx")
    runner = CliRunner()
    made = runner.invoke(export.command, ["tinynet-e", *SMALL, "--output", path], catch_exceptions=False)
    assert made.exit_code == 0
    arguments = ["--reference", "tinynet-e", *SMALL, "--json"]
    good = runner.invoke(check.command, [path, *arguments], catch_exceptions=False, standalone_mode=False)
    assert good.return_value == 0
    assert json.loads(good.stdout)["parity"]["passed"]

    model = scale_weights(onnx.load(path), "blocks.3.0.conv_pwl.weight", 1.5)
    altered = str(tmp_path / "altered.onnx")
    onnx.save(model, altered)
    bad = runner.invoke(check.command, [altered, *arguments], catch_exceptions=False, standalone_mode=False)
    assert bad.return_value == 4
    layer = json.loads(bad.stdout)["parity"]["first_difference"]
    assert layer["layer"].startswith("blocks.3.0.conv_pwl")
    assert layer["op_type"] == "Conv"
    assert "blocks.3.0.conv_pwl" in bad.stderr


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (["--classes", "10", "--in-channels", "1", "--resolution", "32"], "inputs of shape anyx1x28x28, .*anyx1x32x32"),
        (["--classes", "7", "--in-channels", "1", "--resolution", "28"], "shape"),
    ],
)
def test_a_reference_of_another_shape_is_told_in_one_line(tmp_path: Path, other: list[str], told: str) -> None:
    path = str(tmp_path / "e.onnx")
    runner = CliRunner()
    runner.invoke(export.command, ["tinynet-e", *SMALL, "--output", path], catch_exceptions=False)
    with pytest.raises(CheckFailedError, match=told):
        runner.invoke(
            check.command,
            [path, "--reference", "tinynet-e", *other],
            catch_exceptions=False,
            standalone_mode=False,
        )
