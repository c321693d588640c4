"""`edgeml bench` on clips, as a user calls it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from edgeml.cli.bench import command
from edgeml.cli.bench_video import read_clip
from edgeml.core.errors import UsageError
from tests.runtime.streaming_pair import write_pair

SCHEMA = json.loads((Path(__file__).parents[2] / "docs/schemas/bench_video.schema.json").read_text(encoding="utf-8"))
QUICK = ("--samples", "24", "--launches", "2", "--seconds", "0.1", "--threads", "1")
CLIP = ("--data", "video:generated:0-12:32x64")


def edgeml(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edgeml.cli.main", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_json_is_one_object_of_the_schema(tmp_path: Path) -> None:
    path = write_pair(tmp_path, shape=(3, 32, 64))
    report = tmp_path / "report.html"
    done = edgeml("bench", path, *CLIP, *QUICK, "--key-interval", "4", "--json", "--report", report)
    assert done.returncode == 0, done.stderr
    value = json.loads(done.stdout)
    jsonschema.validate(value, SCHEMA)
    assert value["clip"] == {"name": "video:generated:0-12:32x64", "frames": 12, "frame_shape": [3, 32, 64]}
    assert value["key_interval"] == 4
    assert [each["frame"] for each in value["contenders"][0]["key_frames"]] == [0, 4, 8]
    assert "does not say how frames become its input" in done.stderr
    assert "<svg" in report.read_text(encoding="utf-8")


def test_people_get_a_table_and_sentences(tmp_path: Path) -> None:
    path = write_pair(tmp_path, shape=(3, 32, 64), key_interval=3)
    (tmp_path / "net.onnx").unlink()
    done = edgeml("bench", path, *CLIP, *QUICK, "--limit", "5", "--key-interval", "0", "--output", tmp_path / "r.json")
    assert done.returncode == 0, done.stderr
    assert "net on video:generated:0-12:32x64, 5 frames" in done.stdout
    assert "1 of 5 frames were computed whole" in done.stdout
    assert "int8 on every frame" in done.stdout
    assert "there is no net.onnx" in done.stderr
    jsonschema.validate(json.loads((tmp_path / "r.json").read_text(encoding="utf-8")), SCHEMA)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("NET", "NET"), "2 files are given with a clip"),
        (("NET", "--batch", "2"), "--batch is 2"),
        (("NET", "--threads", "1", "--threads", "2"), "--threads is given 2 times"),
        (("NET", "--runtime", "tvm"), "--runtime is 'tvm'"),
        (("NET", "--device", "moon"), "unknown device 'moon'"),
        (("no.residual.onnx",), "there is no model file no.residual.onnx"),
        (("NET", "--data", "video:no/such/file.mp4"), "no/such/file.mp4"),
        (("NET", "--key-interval", "2", "--data", "digits"), "--key-interval is for networks for video"),
        (("DENSE",), "is no network for video; name its NAME.residual.onnx"),
        (("NET", "--output", "no/such/place.json"), "cannot write no/such/place.json"),
    ],
)
def test_mistakes_are_told(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    path = write_pair(tmp_path, shape=(3, 32, 64))
    names = {"NET": str(path), "DENSE": str(tmp_path / "net.dense.onnx")}
    clip = () if "--data" in arguments else CLIP
    given = [names.get(argument, argument) for argument in arguments]
    with pytest.raises(UsageError, match=re.escape(message)):
        command.main([*given, *clip], standalone_mode=False)


def test_a_clip_that_takes_too_much_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_pair(tmp_path, shape=(3, 32, 64))
    monkeypatch.setattr("edgeml.cli.bench_video._FRAMES_LIMIT_BYTES", 5 * 4 * 3 * 32 * 64)
    assert len(read_clip(path, CLIP[1], 5)[0]) == 5
    with pytest.raises(UsageError, match="use fewer with --limit 5"):
        read_clip(path, CLIP[1], None)
