"""`edgeml device` as users call it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from click.testing import CliRunner, Result

from edgeml.cli.device import command
from edgeml.core.errors import EdgeMLError, MissingError, UsageError

SCHEMA = json.loads((Path(__file__).parents[2] / "docs/schemas/device.schema.json").read_text(encoding="utf-8"))


@pytest.fixture(autouse=True)
def directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def device(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments)


def printed(*arguments: str) -> dict[str, Any]:
    result = device(*arguments, "--json")
    assert result.exit_code == 0, result.exception
    value: dict[str, Any] = json.loads(result.stdout)
    jsonschema.validate(value, SCHEMA)
    return value


def refusal(*arguments: str) -> EdgeMLError:
    error = device(*arguments).exception
    assert isinstance(error, EdgeMLError)
    return error


def test_a_device_is_named_listed_and_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert device("list").stdout == ""
    added = device("add", "pi", "ssh://pi@board:2222", "--identity-file", "key", "--env", "A=b=c", "--env", "B=")
    assert added.exit_code == 0
    assert "try it with: edgeml device check pi" in added.stderr
    assert device("add", "pi-rpc", "rpc://127.0.0.1:9090", "--through", "pi").exit_code == 0
    lines = device("list").stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["name", "address"],
        ["pi", "ssh://pi@board:2222"],
        ["pi-rpc", "rpc://127.0.0.1:9090"],
    ]
    assert lines[1].endswith(f"identity_file {tmp_path / 'key'}, A=b=c, B=")
    assert lines[2].endswith(f"identity_file {tmp_path / 'key'}, through ssh://pi@board:2222")
    listed = printed("list")["devices"]
    assert listed[0]["environment"] == {"A": "b=c", "B": ""}
    assert listed[1]["through"] == "ssh://pi@board:2222"
    assert printed("remove", "pi")["device"] == listed[0]
    assert printed("list")["devices"] == [listed[1]]


def test_what_is_wrong_is_told_and_changes_nothing() -> None:
    assert device("add", "pi", "ssh://pi@board").exit_code == 0
    before = printed("list")
    for arguments, told in (
        (("add", "pi", "ssh://pi@other"), "there is a device 'pi' already"),
        (("add", "x", "telnet://board"), "unknown device 'telnet://board'; allowed forms"),
        (("add", "local", "ssh://pi@board"), "'local' cannot be a device's name"),
        (("add", "x", "ssh://pi@board", "--env", "A"), "--env is 'A'; it must be NAME=VALUE"),
        (("add", "x", "rpc://127.0.0.1:1", "--through", "nobody"), "unknown device 'nobody'; known are pi"),
        (("add", "x", "adb://1", "--known-hosts", "f"), "known_hosts means nothing for adb://1"),
        (("remove", "x"), "unknown device 'x'"),
        (("check", "x"), "unknown device 'x'"),
    ):
        error = refusal(*arguments)
        assert isinstance(error, UsageError), arguments
        assert told in str(error)
    assert printed("list") == before
    assert printed("add", "pi", "ssh://pi@other", "--replace")["device"]["device"] == "ssh://pi@other"


def test_this_machine_is_checked_in_a_table_and_in_json() -> None:
    lines = device("check", "local").stdout.splitlines()
    assert lines[0].split() == ["ok", "reached", "it", "is", "this", "machine"]
    assert lines[-1].startswith("ok       worker          starts and answers in ")
    value = printed("check", "local")
    assert value["device"]["device"] == "local"
    assert {"machine", "clock", "worker"} <= {finding["name"] for finding in value["findings"]}


def test_a_device_that_is_not_ready_ends_with_its_exit_code_and_the_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    result = device("check", "adb://0123", "--json")
    jsonschema.validate(json.loads(result.stdout), SCHEMA)
    assert isinstance(result.exception, MissingError)
    assert result.exception.exit_code == 3
    assert "adb://0123 is not ready: reached: adb, which reaches adb:// devices, is not installed" in str(
        result.exception
    )
