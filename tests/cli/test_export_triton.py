"""`edgeml export --triton` from its options to what lies in the repository."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgeml.cli.export import command
from edgeml.core.artifact import load_manifest
from edgeml.core.errors import UsageError

WriteConvNet = Callable[..., Path]


def invoke(*arguments: object) -> str:
    """Run the command; what it printed."""
    result = CliRunner().invoke(
        command, [str(each) for each in arguments], catch_exceptions=False, standalone_mode=False
    )
    return result.stdout


def test_a_model_goes_to_a_repository_alone(write_conv_net: WriteConvNet, tmp_path: Path) -> None:
    source = write_conv_net("small net.onnx")
    told = invoke(source, "--triton", tmp_path / "models")
    assert f"repository  {tmp_path / 'models'}: model small_net, version 1" in told
    value = json.loads(invoke(source, "--triton", tmp_path / "models", "--json"))
    placed = tmp_path / "models" / "small_net" / "2" / "model.onnx"
    assert value["repository"] == {"model": "small_net", "version": "2", "file": str(placed)}
    artifact = load_manifest(placed)
    assert artifact is not None
    assert artifact.to_json() == value["artifact"]


def test_a_model_goes_to_a_file_and_a_repository(write_conv_net: WriteConvNet, tmp_path: Path) -> None:
    output = tmp_path / "e8.onnx"
    value = json.loads(invoke(write_conv_net(), "--output", output, "--triton", tmp_path / "models", "--json"))
    assert value["repository"]["model"] == "e8"
    artifact = load_manifest(output)
    assert artifact is not None
    assert artifact.to_json() == value["artifact"]
    invoke(write_conv_net(), "--triton", tmp_path / "models", "--triton-name", "other")
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == ["e8", "other"]


def test_without_a_repository_json_says_so(write_conv_net: WriteConvNet, tmp_path: Path) -> None:
    assert json.loads(invoke(write_conv_net(), "--output", tmp_path / "a.onnx", "--json"))["repository"] is None


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "--output FILE.onnx, or a model repository with --triton DIRECTORY"),
        (["--output", "a.onnx", "--triton-name", "m"], "add --triton DIRECTORY"),
        (["--triton", "none/models"], "does not exist; create it first"),
        (["--triton", "models", "--triton-name", "a/b"], "the model's name is 'a/b'"),
        (["--triton", "models", "--int8-peer", "int8.onnx"], "it needs --output, too"),
        (["--triton", "models", "--video", "gated"], "--triton cannot be given with --video"),
    ],
)
def test_options_that_do_not_fit_are_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], reason: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=reason):
        invoke("net.onnx", *arguments)
    assert list(tmp_path.iterdir()) == []
