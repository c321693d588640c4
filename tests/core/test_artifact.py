import hashlib
import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeml.core.artifact import Artifact, load_manifest, manifest_path, sha256_file
from edgeml.core.errors import CheckFailedError, EdgeMLError, UsageError
from edgeml.core.preprocessing import Preprocessing
from edgeml.core.target import Target
from edgeml.core.tensor_spec import TensorSpec

CONTENT = b"a model"


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    path = tmp_path / "model.onnx"
    path.write_bytes(CONTENT)
    return Artifact(
        path=path,
        format="onnx",
        model="tinynet-e",
        precision="int8",
        inputs=(TensorSpec("image", ("batch", 3, 28, 28), "float32"),),
        outputs=(TensorSpec("logits", ("batch", 10), "float32"),),
        sha256=hashlib.sha256(CONTENT).hexdigest(),
        target=Target.parse("rpi4"),
        parent_sha256="0" * 64,
        tool_versions=(("onnx", "1.20"), ("torch", "2.9")),
        preprocessing=Preprocessing(28, 28, (0.5,), (0.25,), "bilinear", 0.875),
        classes=("shoe", "bag"),
        schedule="kernels",
    )


def test_a_manifest_gives_the_artifact_back(artifact: Artifact) -> None:
    artifact.save_manifest()
    assert load_manifest(artifact.path) == artifact
    assert artifact.size_bytes == len(CONTENT)
    assert artifact.manifest_path == manifest_path(artifact.path)
    assert artifact.manifest_path.name == "model.onnx.edgeml.json"


def test_a_manifest_written_before_schedules_were_told_still_loads(artifact: Artifact) -> None:
    value = artifact.to_json()
    del value["schedule"]
    artifact.manifest_path.write_text(json.dumps(value), encoding="utf-8")
    found = load_manifest(artifact.path)
    assert found is not None
    assert found.schedule is None
    assert found.target == artifact.target


def test_an_unknown_schedule_is_refused_with_what_is_allowed(artifact: Artifact) -> None:
    artifact.manifest_path.write_text(json.dumps(artifact.to_json() | {"schedule": "fast"}), encoding="utf-8")
    with pytest.raises(UsageError, match=r"schedule.*fast.*kernels, tuned, dlight"):
        load_manifest(artifact.path)


def test_a_pair_of_files_can_be_moved_and_renamed(artifact: Artifact, tmp_path: Path) -> None:
    artifact.save_manifest()
    (tmp_path / "elsewhere").mkdir()
    moved = artifact.path.rename(tmp_path / "elsewhere" / "other.onnx")
    artifact.manifest_path.rename(manifest_path(moved))
    assert load_manifest(moved) == artifact.at(moved)


def test_a_file_without_a_manifest_has_none(artifact: Artifact) -> None:
    assert load_manifest(artifact.path) is None


def test_a_changed_file_fails_the_check(artifact: Artifact) -> None:
    artifact.save_manifest()
    artifact.path.write_bytes(b"another model")
    with pytest.raises(CheckFailedError, match="was changed after it was written"):
        load_manifest(artifact.path)


def test_the_digest_is_that_of_the_whole_file(tmp_path: Path) -> None:
    content = os.urandom((1 << 20) + 17)
    (tmp_path / "file").write_bytes(content)
    assert sha256_file(tmp_path / "file") == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("name", ["missing", "x" * 300])
def test_a_file_that_cannot_be_read_is_a_usage_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        sha256_file(tmp_path / name)


def test_a_pipe_or_directory_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero")):
        with pytest.raises(UsageError, match="no regular file"):
            sha256_file(path)


@pytest.mark.parametrize(
    "change",
    [
        {"schema_version": 2},
        {"schema_version": None},
        {"file": "../model.onnx"},
        {"file": "/etc/passwd"},
        {"file": ".."},
        {"file": ""},
        {"file": "a\\b"},
        {"file": {"a": 1}},
        {"format": "exe"},
        {"format": ["onnx"]},
        {"precision": 8},
        {"model": None},
        {"model": ["tinynet"]},
        {"inputs": {"name": "x"}},
        {"inputs": [{"name": "x", "shape": [{"a": 1}], "dtype": "float32"}]},
        {"inputs": [{"name": "x", "shape": [-1], "dtype": "float32"}]},
        {"inputs": ["image"]},
        {"outputs": None},
        {"outputs": [None]},
        {"target": 5},
        {"target": "toaster"},
        {"sha256": "abc"},
        {"sha256": 0},
        {"parent_sha256": {"a": 1}},
        {"tool_versions": [["onnx", "1"]]},
        {"tool_versions": {"onnx": 1}},
        {"preprocessing": []},
        {"preprocessing": {"height": 28}},
        {
            "preprocessing": {
                "height": "28",
                "width": 28,
                "mean": "half",
                "std": [1],
                "interpolation": 1,
                "crop_fraction": 1,
            }
        },
        {"preprocessing": Preprocessing(28, 28, (0.5,), (0.25,)).to_json() | {"mean": [math.nan]}},
        {"preprocessing": Preprocessing(28, 28, (0.5,), (0.25,)).to_json() | {"std": ["0.25"]}},
        {"classes": "abc"},
        {"classes": [1, 2]},
        {"classes": ["\ud800"]},
        {"surprise": 1},
    ],
)
def test_a_manifest_of_another_form_is_a_usage_error_that_names_it(artifact: Artifact, change: dict[str, Any]) -> None:
    artifact.manifest_path.write_text(json.dumps(artifact.to_json() | change))
    with pytest.raises(UsageError, match=r"model\.onnx\.edgeml\.json") as caught:
        load_manifest(artifact.path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["schema_version", "file", "inputs", "classes", "preprocessing"])
def test_a_missing_key_is_a_usage_error(artifact: Artifact, key: str) -> None:
    value = artifact.to_json()
    del value[key]
    artifact.manifest_path.write_text(json.dumps(value))
    with pytest.raises(UsageError, match=key):
        load_manifest(artifact.path)


@pytest.mark.parametrize(
    "text", ["", "null", "[]", "{", "[" * 100_000, '{"schema_version": ' + "9" * 5000 + "}", "\xff\xfe", '"\\ud800"']
)
def test_a_manifest_that_is_no_json_object_is_a_usage_error(artifact: Artifact, text: str) -> None:
    artifact.manifest_path.write_text(text, encoding="latin-1")
    with pytest.raises(UsageError, match="cannot read the manifest"):
        load_manifest(artifact.path)


def test_a_manifest_of_absurd_size_is_not_read(artifact: Artifact) -> None:
    with artifact.manifest_path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(UsageError, match="larger than"):
        load_manifest(artifact.path)


def test_a_name_too_long_for_a_manifest_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read the manifest"):
        load_manifest(tmp_path / ("x" * 250))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(data=st.data())
def test_any_value_anywhere_in_a_manifest_gives_an_artifact_or_one_of_our_errors(
    artifact: Artifact, data: st.DataObject
) -> None:
    value: Any = json.loads(json.dumps(artifact.to_json()))
    place: Any = value
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(place[key], (dict, list)) or not place[key] or data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = data.draw(JSON)
    try:
        changed = Artifact.from_json(value, artifact.path.parent)
    except EdgeMLError:
        return
    assert Artifact.from_json(json.loads(json.dumps(changed.to_json())), artifact.path.parent) == changed
    hash(changed)
    str(changed)
