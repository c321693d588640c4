"""`edgeml compare`, from result files to exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from click.testing import CliRunner, Result

from edgeml.cli.compare import command
from edgeml.core.errors import UsageError
from edgeml.edge_bench.results import write_results
from tests.made_results import make_contender, make_host, make_launch, make_result

SCHEMA = json.loads((Path(__file__).parents[2] / "docs/schemas/compare.schema.json").read_text(encoding="utf-8"))


def write(path: Path, latency_ms: float, *, governor: str | None = None, precision: str = "int8") -> Path:
    """Results of one contender whose launches differ by 1%."""
    launches = tuple(
        make_launch(latency_ms=(latency_ms * (1 + 0.005 * (index - 2)),) * 20, block=(0,) * 20) for index in range(5)
    )
    contender = make_contender(artifact=f"{precision}.onnx", model="tinynet-e", precision=precision, launches=launches)
    host = make_host(governor=governor, versions=(("python", "3.11.7"),))
    write_results(make_result(contender, host=host, warnings=("noisy: a neighbour",)), path)
    return path


def compare(*arguments: Path | str) -> Result:
    result = CliRunner().invoke(command, [str(argument) for argument in arguments], standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result


def compare_json(*arguments: Path | str) -> dict[str, Any]:
    value = json.loads(compare(*arguments, "--json").stdout)
    jsonschema.validate(value, SCHEMA)
    return dict(value)


def test_a_slower_file_is_told_with_its_interval(tmp_path: Path) -> None:
    before, after = write(tmp_path / "a.json", 2.0), write(tmp_path / "b.json", 2.2)
    result = compare(before, after)
    assert result.return_value == 0
    assert "+10.0% [" in result.stdout
    assert "slower" in result.stdout
    assert "warning: judged: noisy: a neighbour" in result.stderr
    assert "warning: one run on each side" in result.stderr
    value = compare_json(before, after)
    assert value["changes"][0]["ratio"] == pytest.approx(2.0 / 2.2)
    assert value["changes"][0]["verdict"] == "slower"
    assert value["changes"][0]["judged_ms"]["median"] == pytest.approx(2.2, rel=1e-3)
    assert not value["regressed"]


@pytest.mark.parametrize(
    ("latency_ms", "code", "said"),
    [
        (2.0, 0, "no contender is slower than the 5% allowed"),
        (2.11, 0, "beyond the 5% allowed, but not shown"),
        (2.2, 4, "int8: regressed; latency changed by +10.0%"),
    ],
)
def test_exit_code_4_says_that_a_regression_is_shown(tmp_path: Path, latency_ms: float, code: int, said: str) -> None:
    before, after = write(tmp_path / "a.json", 2.0), write(tmp_path / "b.json", latency_ms)
    result = compare(before, after, "--regression", "5")
    assert result.return_value == code
    assert said in result.stdout
    assert compare_json(before, after, "--regression", "5")["regressed"] == (code == 4)


def test_differing_conditions_are_refused_unless_they_are_ignored(tmp_path: Path) -> None:
    before, after = write(tmp_path / "a.json", 2.0), write(tmp_path / "b.json", 2.0, governor="powersave")
    with pytest.raises(UsageError, match=r"governor \(not told, then powersave\).*--ignore-context"):
        compare(before, after)
    result = compare(before, after, "--ignore-context")
    assert "different conditions: governor (not told, then powersave)" in result.stderr
    value = compare_json(before, after, "--ignore-context")
    assert value["context"] == [{"name": "governor", "baseline": "not told", "judged": "powersave"}]


def test_a_directory_holds_repeated_runs(tmp_path: Path) -> None:
    (tmp_path / "before").mkdir()
    for index, latency_ms in enumerate((2.0, 2.1, 1.9)):
        write(tmp_path / "before" / f"{index}.json", latency_ms)
    after = write(tmp_path / "b.json", 2.1)
    value = compare_json(tmp_path / "before", after)
    assert (value["changes"][0]["baseline_ms"]["runs"], value["changes"][0]["judged_ms"]["runs"]) == (3, 1)
    assert value["changes"][0]["verdict"] == "no difference shown"
    assert compare_json(tmp_path / "before" / "0.json", after)["changes"][0]["verdict"] == "slower"
    assert "one run on each side" not in compare(tmp_path / "before", after).stderr
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="holds no results"):
        compare(tmp_path / "empty", after)


def test_files_without_a_common_contender_are_refused(tmp_path: Path) -> None:
    before, after = write(tmp_path / "a.json", 2.0), write(tmp_path / "b.json", 2.0, precision="fp32")
    with pytest.raises(UsageError, match="nothing to compare"):
        compare(before, after)
