"""`edgeml models` as users call it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner, Result

from edgeml.cli.models import command
from edgeml.core.errors import UsageError

pytestmark = pytest.mark.torch


def models(*arguments: str) -> Result:
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def test_the_list_gives_the_published_parameters_in_json() -> None:
    done = models("list", "--json")
    assert done.stderr == ""
    value = json.loads(done.stdout)
    assert value["schema_version"] == 1
    assert {row["name"]: row["params"] for row in value["models"] if row["family"] in {"tinynet", "efficientnet"}} == {
        "tinynet-a": 6_187_972,
        "tinynet-b": 3_730_562,
        "tinynet-c": 2_457_234,
        "tinynet-d": 2_338_446,
        "tinynet-e": 2_042_972,
        "efficientnet-b0": 5_288_548,
    }
    assert value["models"][4] == {
        "name": "tinynet-e",
        "family": "tinynet",
        "params": 2_042_972,
        "macs": 24_356_848,
        "bits": 0,
        "bit_operations": 0,
        "input_shape": [3, 106, 106],
    }


def test_the_list_is_a_table_for_people() -> None:
    listed = models("list").stdout
    assert "tinynet-e        tinynet         2,042,972   24.4M  3x106x106\n" in listed
    assert "vgg-small        binary             88,970    3.6M  3x32x32      4,571,136   604.0M\n" in listed


def test_one_network_is_shown_with_stages_transform_and_published_accuracy() -> None:
    value = json.loads(models("show", "tinynet-e", "--json").stdout)
    assert [row["stage"] for row in value["stages"]] == ["stem", *"1234567", "head", "classifier"]
    assert sum(row["macs"] for row in value["stages"]) == value["macs"]
    assert sum(row["params"] for row in value["stages"]) == value["params"]
    assert value["stages"][5] | {"params": 0, "macs": 0} == {
        "stage": "5",
        "repeats": 2,
        "channels": 56,
        "kernel": 5,
        "stride": 1,
        "resolution": 7,
        "params": 0,
        "macs": 0,
    }
    assert value["preprocessing"]["crop_fraction"] == 0.875
    assert value["published"]["paper_top1"] == 59.9
    text = models("show", "tinynet-e").stdout
    assert "published, not measured here" in text
    assert "Han et al., NeurIPS 2020" in text


def test_a_scaled_network_is_shown_and_has_no_published_accuracy() -> None:
    value = json.loads(models("show", "tinynet-r28-w0.35-d0.5-small", "--json").stdout)
    assert value["published"] is None
    assert value["input_shape"] == [3, 28, 28]


def test_an_unknown_name_is_a_usage_error_with_a_hint() -> None:
    with pytest.raises(UsageError, match="did you mean tinynet-e"):
        models("show", "tinynet_e")


@pytest.mark.parametrize("arguments", [["list", "--json"], ["show", "tinynet-e"]])
def test_a_missing_torch_is_exit_3_with_the_mend(arguments: list[str]) -> None:
    code = "import sys; sys.modules['torch'] = None; from edgeml.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "models", *arguments], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == "edgeml: torch is not installed; install it with: pip install 'edgeml[train]'\n"
