from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner

from edgeml.cli.lint import command
from edgeml.compiler.lint import lint as stage
from edgeml.compiler.lint.lint import LintReport
from edgeml.compiler.lint.operator_limits import Finding
from edgeml.core.target import Target

SCHEMA = json.loads((Path(__file__).parents[2] / "docs/schemas/lint.schema.json").read_text(encoding="utf-8"))
FINDING = Finding(operator="LSTM", domain="", name="memory", reason="no", way_round="unroll it")


def run(monkeypatch: pytest.MonkeyPatch, findings: tuple[Finding, ...], *arguments: str) -> tuple[int, str]:
    def found(model: Path, target: Target, **_: object) -> LintReport:
        return LintReport(model=model, target=target, findings=findings)

    monkeypatch.setattr(stage, "lint", found)
    result = CliRunner().invoke(command, ["m.onnx", "--target", "rpi4", *arguments])
    return result.exit_code, result.stdout


def test_a_model_that_can_be_compiled_is_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, ()) == (0, "m.onnx can be compiled for rpi4\n")


def test_findings_are_printed_with_the_way_round_and_exit_code_4(monkeypatch: pytest.MonkeyPatch) -> None:
    code, text = run(monkeypatch, (FINDING,))
    assert code == 4
    assert "LSTM memory: no" in text
    assert "way round: unroll it" in text


@pytest.mark.parametrize("findings", [(), (FINDING,)])
def test_json_is_one_object_of_the_schema(monkeypatch: pytest.MonkeyPatch, findings: tuple[Finding, ...]) -> None:
    code, text = run(monkeypatch, findings, "--json")
    value = json.loads(text)
    jsonschema.validate(value, SCHEMA)
    assert value["supported"] is (code == 0)
