"""What is read of a model repository, with configurations written by Triton's own message classes as well."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import pytest

from edgeml.core.artifact import Artifact
from edgeml.core.errors import UsageError
from edgeml.core.tensor_spec import TensorSpec
from edgeml.runtime.inference_protocol.config_file import config_text, read_config
from edgeml.runtime.inference_protocol.messages import message_class
from edgeml.serving.engine.configuration import ModelConfiguration, ModelSource
from edgeml.serving.repository.directory import DirectoryRepository
from edgeml.serving.repository.files import FileRepository, named_files
from edgeml.serving.repository.opening import open_repository

WHOLE = """
# a comment with [ and "
name: "m"
platform: "onnxruntime_onnx"
max_batch_size: 8
input [ { name: "x" data_type: TYPE_FP32 format: FORMAT_NCHW dims: [ 3, -1, -1 ] reshape { shape: [ 3, -1, -1 ] } } ]
output [ { name: "y" data_type: TYPE_FP32 dims: [ 2 ] label_filename: "labels.txt" } ]
instance_group [ { count: 2 kind: KIND_CPU }, { count: 1 kind: KIND_GPU gpus: [ 0 ] } ]
dynamic_batching {
  preferred_batch_size: [ 4, 8 ]
  max_queue_delay_microseconds: 100
  preserve_ordering: true
  priority_levels: 3
  default_priority_level: 2
  default_queue_policy { timeout_action: REJECT default_timeout_microseconds: 5000 max_queue_size: 16 }
  priority_queue_policy { key: 1 value: { max_queue_size: 4 } }
}
parameters { key: "intra_op_thread_count" value: { string_value: "2" } }
optimization { graph { level: 1 } execution_accelerators { gpu_execution_accelerator : [ { name : "tensorrt" } ] } }
model_warmup [ { name: "a" batch_size: 1 inputs [ { key: "x" value: { dims: [ 3 ] zero_data: true } } ] } ]
metric_tags { key: "a[" value: "b" }
response_cache { enable: true }
"""


def lay(repository: Path, name: str = "m", *versions: str, config: str = "") -> Path:
    """A model with files that nothing looks into here."""
    directory = repository / name
    directory.mkdir(exist_ok=True)
    for version in versions:
        (directory / version).mkdir()
        (directory / version / "model.onnx").write_bytes(b"onnx")
    if config:
        (directory / "config.pbtxt").write_text(config)
    return directory


def look(repository: Path) -> ModelSource:
    """The only model."""
    (source,) = DirectoryRepository(repository, ModelConfiguration()).scan()
    return source


def test_a_model_without_a_configuration_is_served_by_the_defaults_in_its_newest_version(tmp_path: Path) -> None:
    directory = lay(tmp_path, "m", "1", "2", "10", "03", "x", "0")
    defaults = ModelConfiguration(max_batch_size=3)
    (source,) = DirectoryRepository(tmp_path, defaults).scan()
    assert source == ModelSource(
        name="m", versions={"10": directory / "10" / "model.onnx"}, configuration=defaults, faults={}
    )


def test_a_whole_configuration_is_read_as_far_as_it_concerns_serving(tmp_path: Path) -> None:
    (lay(tmp_path, "m", "1", config=WHOLE) / "labels.txt").write_text("a cat\na\u2028dog\n", encoding="utf-8")
    source = look(tmp_path)
    assert not source.faults
    assert source.configuration == ModelConfiguration(
        max_batch_size=8,
        dynamic_batching=True,
        preferred_batch_sizes=(4, 8),
        max_queue_delay_us=100,
        instances=3,
        threads=2,
        priority_levels=3,
        default_priority=2,
        default_timeout_us=5000,
        queue=16,
        labels={"y": ("a cat", "a\u2028dog")},
    )


def test_a_model_without_dynamic_batching_joins_nothing(tmp_path: Path) -> None:
    lay(tmp_path, "m", "1", config="max_batch_size: 4")
    configuration = look(tmp_path).configuration
    assert (configuration.max_batch_size, configuration.dynamic_batching) == (4, False)


def test_sequences_are_configured(tmp_path: Path) -> None:
    lay(
        tmp_path,
        "m",
        "1",
        config="sequence_batching { max_sequence_idle_microseconds: 2000000 oldest { max_candidate_sequences: 7 }"
        ' control_input [ { name: "START" control [ { kind: CONTROL_SEQUENCE_START fp32_false_true: [ 0, 1 ] } ] } ] }',
    )
    configuration = look(tmp_path).configuration
    assert (configuration.sequence_idle_s, configuration.sequences) == (2.0, 7)


@pytest.mark.parametrize(
    ("policy", "versions"),
    [
        ("", ["10"]),
        ("version_policy: { latest { num_versions: 2 } }", ["2", "10"]),
        ("version_policy: { latest { } }", ["10"]),
        ("version_policy: { all { } }", ["1", "2", "10"]),
        ("version_policy: { specific { versions: [ 1, 10 ] } }", ["1", "10"]),
    ],
)
def test_the_version_policy_chooses(tmp_path: Path, policy: str, versions: list[str]) -> None:
    lay(tmp_path, "m", "1", "2", "10", config=policy)
    source = look(tmp_path)
    assert (list(source.versions), source.faults) == (versions, {})


def test_a_version_that_is_just_being_filled_does_not_hide_the_one_before(tmp_path: Path) -> None:
    directory = lay(tmp_path, "m", "1", "2")
    (directory / "3").mkdir()
    source = look(tmp_path)
    assert list(source.versions) == ["2"]
    assert list(source.faults) == ["3"]
    assert "holds no model file model.onnx or model.residual.onnx or model.so" in source.faults["3"]


def test_a_version_that_is_asked_for_and_not_there_is_a_fault(tmp_path: Path) -> None:
    lay(tmp_path, "m", "1", config="version_policy: { specific { versions: [ 1, 7, -1 ] } }")
    source = look(tmp_path)
    assert (list(source.versions), list(source.faults)) == (["1"], ["7", "-1"])


def test_a_model_file_may_have_another_name(tmp_path: Path) -> None:
    directory = lay(tmp_path, "m", "1", config='default_model_filename: "net.onnx"')
    assert "holds no model file net.onnx" in look(tmp_path).faults["1"]
    (directory / "1" / "net.onnx").write_bytes(b"onnx")
    assert look(tmp_path).versions == {"1": directory / "1" / "net.onnx"}


@pytest.mark.parametrize("name", ["../secret.onnx", "..", "sub/net.onnx", "/etc/hostname", "a\\000b"])
def test_a_model_file_elsewhere_is_not_taken(tmp_path: Path, name: str) -> None:
    directory = lay(tmp_path, "m", "1", config=f'default_model_filename: "{name}"')
    (directory / "secret.onnx").write_bytes(b"onnx")
    (directory / "1" / "sub").mkdir()
    (directory / "1" / "sub" / "net.onnx").write_bytes(b"onnx")
    assert look(tmp_path).versions == {}


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ("name: 'other'", "is for the model 'other'; its directory is m"),
        ("max_batch_size: -1", "max_batch_size is -1; it must be from 0 to"),
        ("max_batch_size: 2000000000", "max_batch_size is 2000000000"),
        ("max_batch_size: 4 dynamic_batching { preferred_batch_size: [ 8 ] }", "preferred_batch_sizes are 8"),
        ("dynamic_batching { priority_levels: 18446744073709551615 }", "priority_levels is 18446744073709551615"),
        ("dynamic_batching { max_queue_delay_microseconds: 18446744073709551615 }", "max_queue_delay_us is"),
        ("instance_group { count: 1000000 }", "instances is 1000000; it must be from 1 to 256"),
        ("instance_group { count: -1 } instance_group { count: 1 }", "instances is 0"),
        ("parameters { key: 'intra_op_thread_count' value { string_value: 'many' } }", "must be a whole number"),
        ("parameters { key: 'intra_op_thread_count' value { string_value: '999999' } }", "threads is 999999"),
        ("backend: 'python'", "is for 'python'; edgeml serves ONNX files"),
        ("platform: 'tensorrt_plan'", "is for 'tensorrt_plan'"),
        ("output { name: 'y' label_filename: '/etc/passwd' }", "lies elsewhere"),
        ("output { name: 'y' label_filename: '../labels.txt' }", "lies elsewhere"),
        ("output { name: 'y' label_filename: 'none.txt' }", "labels of output y cannot be read"),
        ("output { name: 'y' label_filename: '..' }", "labels of output y cannot be read"),
        ("input { data_type: TYPE_FP8 }", "no value named TYPE_FP8"),
        ("max_batch_size: ", "cannot be read"),
        ("a { " * 20_000, "it nests too deeply"),
        ("x" * (1 << 20) + ": 1", "is larger than 1048576 bytes"),
    ],
)
def test_a_configuration_that_cannot_be_used_is_one_line_and_hides_no_other_model(
    tmp_path: Path, config: str, reason: str
) -> None:
    lay(tmp_path, "m", "1", config=config)
    lay(tmp_path, "good", "1")
    good, bad = DirectoryRepository(tmp_path, ModelConfiguration()).scan()
    assert (list(good.versions), good.faults) == (["1"], {})
    assert (dict(bad.versions), list(bad.faults)) == ({}, [""])
    assert reason in bad.faults[""]


def test_bytes_that_are_no_text_are_a_fault_of_that_model_alone(tmp_path: Path) -> None:
    generator = random.Random(0)
    directory = lay(tmp_path, "m", "1")
    for _ in range(300):
        (directory / "config.pbtxt").write_bytes(generator.randbytes(generator.randrange(1, 80)))
        assert look(tmp_path).name == "m"


def test_damaged_configurations_never_raise(tmp_path: Path) -> None:
    generator = random.Random(1)
    directory = lay(tmp_path, "m", "1")
    for _ in range(500):
        text = list(WHOLE)
        for _ in range(generator.randrange(1, 4)):
            place = generator.randrange(len(text))
            text[place] = generator.choice(["", "{", "}", "[", "]", '"', "9", "-", "\\", "\n", "\0"])
        (directory / "config.pbtxt").write_text("".join(text))
        source = look(tmp_path)
        assert source.versions or source.faults


@pytest.mark.parametrize("name", ["a b", "-m", "m\u00e9", "m:1"])
def test_a_directory_whose_name_cannot_be_a_model_s_is_a_fault(tmp_path: Path, name: str) -> None:
    lay(tmp_path, name, "1")
    assert "a name is made of letters" in look(tmp_path).faults[""]


def test_a_name_that_is_no_text_can_be_told(tmp_path: Path) -> None:
    try:
        (tmp_path / os.fsdecode(b"\xff")).mkdir()
    except OSError:
        pytest.skip("this file system takes text alone")
    source = look(tmp_path)
    assert source.name == "\\udcff"
    source.faults[""].encode()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names")
def test_a_pipe_in_place_of_a_file_is_not_waited_for(tmp_path: Path) -> None:
    directory = lay(tmp_path, "m", "1", config='output { name: "y" label_filename: "labels.txt" }')
    os.mkfifo(directory / "labels.txt")
    assert "there is no file" in look(tmp_path).faults[""]
    (directory / "config.pbtxt").unlink()
    for name in ("config.pbtxt", "1/model.onnx.edgeml.json"):
        os.mkfifo(directory / name)
    source = look(tmp_path)
    assert (list(source.versions), source.configuration) == (["1"], ModelConfiguration())
    (directory / "1" / "model.onnx").unlink()
    os.mkfifo(directory / "1" / "model.onnx")
    assert look(tmp_path).versions == {}


def test_what_is_no_directory_or_hidden_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "README").write_text("")
    (tmp_path / ".git").mkdir()
    assert DirectoryRepository(tmp_path, ModelConfiguration()).scan() == ()


def test_a_model_without_a_version_says_where_to_lay_it(tmp_path: Path) -> None:
    lay(tmp_path, "m")
    assert "lay the model at" in look(tmp_path).faults[""]


def test_a_directory_that_cannot_be_read_is_told_of(tmp_path: Path) -> None:
    repository = DirectoryRepository(tmp_path / "gone", ModelConfiguration())
    with pytest.raises(UsageError, match="cannot read the directory of models"):
        repository.scan()


@pytest.mark.parametrize("name", ["none", "..", ".", "a/b", "m/1", "", "x" * 300, "m\0"])
def test_names_that_are_no_model_are_not_found(tmp_path: Path, name: str) -> None:
    lay(tmp_path, "m", "1")
    repository = DirectoryRepository(tmp_path, ModelConfiguration())
    assert repository.find(name) is None
    assert repository.find("m") == look(tmp_path)


def test_triton_s_own_messages_are_read_with_the_values_they_hold(tmp_path: Path) -> None:
    theirs = pytest.importorskip("tritonclient.grpc.model_config_pb2")
    from google.protobuf import text_format

    config = text_format.Parse(WHOLE, theirs.ModelConfig())
    lay(tmp_path, "m", config=text_format.MessageToString(config))
    ours = read_config(tmp_path / "m")
    assert_same(ours, config)
    (tmp_path / "m" / "config.pbtxt").write_text(text_format.MessageToString(config, as_one_line=True))
    assert read_config(tmp_path / "m") == ours
    again = text_format.Parse(config_text(ours), theirs.ModelConfig())
    assert_same(ours, again)


def assert_same(ours: Any, theirs: Any) -> None:
    """Every field that edgeml has bears the same value in both."""
    for field in ours.DESCRIPTOR.fields:
        mine, other = getattr(ours, field.name), getattr(theirs, field.name)
        if field.message_type is None:
            assert mine == other, field.full_name
        elif field.message_type.GetOptions().map_entry:
            assert set(mine) == set(other), field.full_name
        elif hasattr(mine, "DESCRIPTOR"):
            assert ours.HasField(field.name) == theirs.HasField(field.name), field.full_name
            assert_same(mine, other)
        else:
            assert len(mine) == len(other), field.full_name
            for each, every in zip(mine, other, strict=True):
                assert_same(each, every)


def test_a_batch_of_0_is_written() -> None:
    config = message_class("ModelConfig")(name="m", backend="onnxruntime")
    assert config_text(config) == 'name: "m"\nbackend: "onnxruntime"\nmax_batch_size: 0\n'


@pytest.mark.parametrize(
    ("argument", "name"),
    [
        ("net.onnx", "net"),
        ("clip.residual.onnx", "clip"),
        ("lib.so", "lib"),
        ("other=net.onnx", "other"),
        ("odd name!.onnx", "odd_name_"),
        ("lr=0.1.onnx", "lr_0.1"),
        ("-.onnx", "model"),
    ],
)
def test_a_file_is_named_after_itself_or_as_the_user_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, argument: str, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    file = argument.removeprefix("other=")
    Path(file).write_bytes(b"onnx")
    assert named_files([argument]) == {name: Path(file)}


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["gone.onnx"], "there is no model file gone.onnx"),
        (["x" * 5000], "there is no model file"),
        (["m=gone.onnx"], "there is no model file gone.onnx"),
        (["notes.txt"], "must end in"),
        (["a b=net.onnx"], "the model's name is 'a b'"),
        (["net.onnx", "sub/net.onnx"], "both net.onnx and sub/net.onnx would be the model net"),
        (["repository", "net.onnx"], "is served alone"),
    ],
)
def test_files_that_cannot_be_served_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], reason: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for directory in ("sub", "repository"):
        (tmp_path / directory).mkdir()
    for file in ("net.onnx", "sub/net.onnx", "notes.txt"):
        (tmp_path / file).write_bytes(b"")
    with pytest.raises(UsageError, match=reason):
        open_repository(arguments, ModelConfiguration())


def test_files_and_directories_are_told_apart(tmp_path: Path) -> None:
    file = tmp_path / "net.onnx"
    file.write_bytes(b"onnx")
    files = open_repository([str(file)], ModelConfiguration())
    assert isinstance(files, FileRepository)
    assert files.named
    assert files.find("net") == files.scan()[0]
    assert files.find("other") is None
    directory = open_repository([str(tmp_path)], ModelConfiguration())
    assert isinstance(directory, DirectoryRepository)
    assert not directory.named


def test_classes_of_a_manifest_are_labels_where_no_file_says_others(tmp_path: Path) -> None:
    directory = lay(tmp_path, "m", "1")
    Artifact(
        path=directory / "1" / "model.onnx",
        format="onnx",
        model="m",
        precision="fp32",
        inputs=(TensorSpec("x", (1, 3), "float32"),),
        outputs=(TensorSpec("y", (1, 3), "float32"), TensorSpec("z", (1, 2), "float32")),
        sha256="0" * 64,
        classes=("cat", "dog"),
    ).save_manifest()
    labels = {"z": ("cat", "dog")}
    assert look(tmp_path).configuration.labels == labels
    (source,) = FileRepository({"m": directory / "1" / "model.onnx"}, ModelConfiguration()).scan()
    assert source.configuration.labels == labels
    (directory / "labels.txt").write_text("wolf\nfox\n")
    (directory / "config.pbtxt").write_text('output { name: "z" label_filename: "labels.txt" }')
    assert look(tmp_path).configuration.labels == {"z": ("wolf", "fox")}


@pytest.mark.parametrize("content", [b"", b"[" * 100_000, b"{}", b"\xff", b'{"schema_version": 1}', b" " * (5 << 20)])
def test_a_manifest_that_cannot_be_read_gives_no_labels(tmp_path: Path, content: bytes) -> None:
    directory = lay(tmp_path, "m", "1")
    (directory / "1" / "model.onnx.edgeml.json").write_bytes(content)
    assert look(tmp_path).configuration.labels == {}
