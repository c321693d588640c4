"""`edgeml scale` as users call it."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from click.testing import CliRunner

from edgeml.cli.scale import command
from edgeml.core.errors import MissingError, UsageError

pytestmark = pytest.mark.torch


def scale(*arguments: str) -> Any:
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


@pytest.mark.parametrize(
    ("option", "text", "amount"),
    [("--macs", "50M", 50e6), ("--macs", "0.1G", 100e6), ("--macs", "50000k", 50e6), ("--params", "2.5m", 2.5e6)],
)
def test_a_budget_gives_both_networks_in_json(option: str, text: str, amount: float) -> None:
    value = json.loads(scale(option, text, "--json").stdout)
    assert value["schema_version"] == 1
    assert value["tiny"][option.strip("-")] == pytest.approx(amount, rel=0.03)
    assert value["tiny"]["name"].startswith("tinynet-r")
    assert set(value["compound"]) == set(value["tiny"])
    assert value["tiny"]["prediction"]["resolution_std"] > 0


def test_the_table_names_both_rules_and_their_networks() -> None:
    lines = scale("--macs", "24.356848M").stdout.splitlines()
    assert len(lines) == 3
    assert lines[1].startswith("tiny formula")
    assert lines[2].startswith("inverted compound rule")


def test_classes_and_channels_count() -> None:
    value = json.loads(scale("--macs", "24M", "--classes", "10", "--in-channels", "1", "--json").stdout)
    assert (value["classes"], value["in_channels"]) == (10, 1)
    assert value["tiny"]["params"] < 1_000_000


def test_an_extrapolated_answer_says_so() -> None:
    result = scale("--macs", "15M")
    assert "extrapolated" in result.stderr
    assert "extrapolated" not in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--macs 50M or --params 2M"),
        (["--macs", "50M", "--params", "2M"], "one budget"),
        (["--macs", "fifty"], "'fifty' is not a number; write 50000000, 50M"),
        (["--macs", "-5M"], "is not a number"),
        (["--macs", "nan"], "is not a number"),
        (["--macs", "1" * 400], "is not a number"),
        (["--macs", "1M"], "out of the tiny formula's range; allowed .* 11.6M to 386M macs"),
        (["--params", "90M"], "allowed .* to 5.27M params"),
    ],
)
def test_budgets_that_make_no_sense_are_refused(arguments: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        CliRunner().invoke(command, arguments, catch_exceptions=False)


def test_a_missing_scikit_learn_is_told_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    from edgeml.models.tinynet import formula

    formula._fitted.cache_clear()
    monkeypatch.setitem(sys.modules, "sklearn.gaussian_process", None)
    with pytest.raises(MissingError, match=r"edgeml\[train\]"):
        CliRunner().invoke(command, ["--macs", "50M"], catch_exceptions=False)
