"""Pairs of files that are none, and metadata that someone else wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
import pytest

from edgeml.core.errors import EdgeMLError, UntrustedFileError, UsageError
from edgeml.core.session import SessionOptions
from edgeml.runtime.streaming.metadata import parse_metadata
from edgeml.runtime.streaming.model import StreamingModel
from edgeml.runtime.streaming.video_files import video_files
from tests.runtime.streaming_pair import write_pair

ONE = SessionOptions(threads=1)
METADATA: dict[str, Any] = {
    "mode": "resq", "key_interval": 4, "states": [], "gated_steps": ["a"], "macs": {"a": 6, "b": 2},
    "bits": {"a": [8, 4], "b": [8, 8]}, "frame_scale": None, "frame_zero_point": None, "role": "key",
}  # fmt: skip


def test_the_siblings_are_named_after_the_network() -> None:
    for suffix in ("key", "residual"):
        files = video_files(Path("dir/net.v2") / f"seg.{suffix}.onnx")
        assert files.name == "seg"
        assert files.dense == Path("dir/net.v2/seg.dense.onnx")
        assert files.fp32 == Path("dir/net.v2/seg.onnx")
        assert files.residual == Path("dir/net.v2/seg.residual.onnx")
    for name in ("seg.onnx", ".residual.onnx", "seg.residual"):
        with pytest.raises(UsageError, match=r"is no network for video; name its NAME\.residual\.onnx"):
            video_files(Path(name))


def test_metadata_weigh_steps_by_their_active_share() -> None:
    metadata = parse_metadata(json.dumps(METADATA))
    assert metadata.key_interval == 4
    assert metadata.bit_operations([0.5]) == 0.5 * 6 * 32 + 2 * 64


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mode": "magic"}, "mode is 'magic'; it must be one of gated, resq"),
        ({"key_interval": 0}, "key_interval is 0"),
        ({"macs": {"a": -1}}, "macs of 'a' is -1"),
        ({"macs": {"c": 1}}, "bits lacks the step 'c'"),
        ({"bits": {"a": [8]}}, "has 1 entries; it must be"),
        ({"bits": {"a": [8, 65], "b": [8, 8]}}, "at most 64"),
        ({"states": [{"name": "s"}]}, "next of a state is None"),
        ({"gated_steps": "a"}, "gated_steps is 'a'; it must be a list"),
    ],
)
def test_metadata_of_another_form_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_metadata(json.dumps(METADATA | change))


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, '{"mode": "gated"}'])
def test_what_is_no_metadata_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"edgeml\.video"):
        parse_metadata(text)


def test_a_missing_or_foreign_file_is_told(tmp_path: Path) -> None:
    path = write_pair(tmp_path)
    (tmp_path / "net.key.onnx").rename(tmp_path / "other.onnx")
    with pytest.raises(UsageError, match=r"there is no file .*net\.key\.onnx"):
        StreamingModel.open(path, ONE)
    (tmp_path / "net.key.onnx").write_bytes(path.read_bytes())
    with pytest.raises(UsageError, match="says that it is the residual file of a pair; the key file is needed"):
        StreamingModel.open(path, ONE)
    (tmp_path / "net.key.onnx").write_bytes((tmp_path / "net.dense.onnx").read_bytes())
    with pytest.raises(UsageError, match=r"has no metadata edgeml\.video"):
        StreamingModel.open(path, ONE)
    (tmp_path / "net.key.onnx").write_bytes(b"nothing of the kind")
    with pytest.raises((UsageError, UntrustedFileError), match=r"net\.key\.onnx"):
        StreamingModel.open(path, ONE)
    with pytest.raises(UsageError, match="threads is 0"):
        StreamingModel.open(write_pair(tmp_path), SessionOptions(threads=0))


def test_files_that_do_not_fit_together_are_refused(tmp_path: Path) -> None:
    (tmp_path / "large").mkdir()
    path = write_pair(tmp_path)
    write_pair(tmp_path / "large", shape=(2, 32, 24))
    (tmp_path / "large" / "net.key.onnx").replace(tmp_path / "net.key.onnx")
    with pytest.raises(UsageError, match="are no pair: their inputs differ"):
        StreamingModel.open(path, ONE)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"states": [{"name": "state_9", "next": "next_9", "step": "x"}]}, "lacks the state state_9"),
        ({"states": []}, "beside the states it must take one frame"),
        ({"gated_steps": ["relu"]}, "must have one entry for each of the 1 gated steps"),
    ],
)
def test_metadata_that_do_not_fit_the_graph_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        StreamingModel.open(write_pair(tmp_path, **changes), ONE)


def test_a_graph_that_onnxruntime_cannot_load_is_told_in_one_line(tmp_path: Path) -> None:
    path = write_pair(tmp_path)
    model = onnx.load(path)
    model.graph.node[0].op_type = "NoSuchOperator"
    onnx.save(model, path)
    with pytest.raises(EdgeMLError, match=r"onnxruntime cannot load .*net\.residual\.onnx"):
        StreamingModel.open(path, ONE)
