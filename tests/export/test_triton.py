"""What `edgeml export --triton` writes, read with Triton's own message classes and with onnxruntime alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgeml.core.artifact import Artifact, load_manifest
from edgeml.core.errors import EdgeMLError, UsageError
from edgeml.core.tensor_spec import TensorSpec
from edgeml.export import triton
from edgeml.export.triton import add_to_repository, check_place, model_config, model_name
from edgeml.runtime.inference_protocol.config_file import config_text, read_config
from edgeml.runtime.onnx_file import open_artifact

WriteConvNet = Callable[..., Path]
CLASSES = tuple(f"class {index}" for index in range(10))


@pytest.fixture
def artifact(write_conv_net: WriteConvNet) -> Artifact:
    """A classifier of ten classes with a dynamic batch."""
    return replace(open_artifact(write_conv_net()), classes=CLASSES)


def described(*, inputs: list[TensorSpec], outputs: list[TensorSpec], classes: tuple[str, ...] = ()) -> Artifact:
    """An artifact whose file nothing reads."""
    return Artifact(
        path=Path("net.onnx"),
        format="onnx",
        model="net",
        precision="fp32",
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        sha256="0" * 64,
        classes=classes,
    )


def files(directory: Path) -> list[str]:
    """Everything below a directory."""
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file())


def test_a_model_is_laid_as_triton_has_it(artifact: Artifact, tmp_path: Path) -> None:
    theirs = pytest.importorskip("tritonclient.grpc.model_config_pb2")
    from google.protobuf import text_format

    placed = add_to_repository(artifact, tmp_path / "models", "net")
    assert files(tmp_path / "models") == [
        "net/1/model.onnx",
        "net/1/model.onnx.edgeml.json",
        "net/config.pbtxt",
        "net/labels.txt",
    ]
    assert (tmp_path / "models/net/labels.txt").read_text() == "".join(f"{name}\n" for name in CLASSES)
    config = text_format.Parse((tmp_path / "models/net/config.pbtxt").read_text(), theirs.ModelConfig())
    assert (config.name, config.backend, config.max_batch_size) == ("net", "onnxruntime", 32)
    assert config.HasField("dynamic_batching")
    ((entry,), (output,)) = config.input, config.output
    assert (entry.name, entry.data_type, list(entry.dims)) == ("image", theirs.TYPE_FP32, [1, 8, 8])
    assert (output.name, list(output.dims), output.label_filename) == ("logits", [10], "labels.txt")
    assert config.ListFields()[0][0].name == "name"
    assert load_manifest(placed.path) == placed
    assert placed.path == tmp_path / "models/net/1/model.onnx"
    assert placed.classes == CLASSES


def test_the_file_computes_what_the_artifact_computes_and_has_the_lowest_ir_version(
    artifact: Artifact, tmp_path: Path
) -> None:
    import onnx
    import onnxruntime

    model = onnx.load(artifact.path)
    model.ir_version = 10
    onnx.save(model, artifact.path)
    placed = add_to_repository(artifact, tmp_path / "models", "net")
    assert onnx.load(placed.path).ir_version == 8  # opset 17 came with it
    assert placed.sha256 != artifact.sha256
    images = np.random.default_rng(0).standard_normal((3, 1, 8, 8)).astype(np.float32)
    results = [
        onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"image": images})[0]
        for path in (artifact.path, placed.path)
    ]
    np.testing.assert_array_equal(*results)


def test_a_name_that_is_there_gets_a_further_version_and_keeps_its_configuration(
    artifact: Artifact, tmp_path: Path
) -> None:
    add_to_repository(artifact, tmp_path, "net")
    config = tmp_path / "net" / "config.pbtxt"
    config.write_text(f"# mine\n{config.read_text()}\ninstance_group {{ count: 2 }}\n")
    kept = config.read_text()
    (tmp_path / "net" / "7").mkdir()
    assert add_to_repository(artifact, tmp_path, "net").path == tmp_path / "net" / "8" / "model.onnx"
    assert config.read_text() == kept


def test_a_name_that_is_there_with_another_interface_is_refused(
    artifact: Artifact, write_conv_net: WriteConvNet, tmp_path: Path
) -> None:
    repository = tmp_path / "models"
    add_to_repository(artifact, repository, "net")
    before = files(repository)
    larger = open_artifact(write_conv_net("larger.onnx", size=16))
    with pytest.raises(UsageError, match=r"other inputs \(image \[1, 8, 8\]\) than this one \(image \[1, 16, 16\]\)"):
        add_to_repository(larger, repository, "net")
    fixed = open_artifact(write_conv_net("fixed.onnx", batch=1))
    with pytest.raises(UsageError, match="other inputs"):
        add_to_repository(fixed, repository, "net")
    with pytest.raises(UsageError, match="names other classes"):
        add_to_repository(replace(artifact, classes=CLASSES[::-1]), repository, "net")
    assert files(repository) == before


@pytest.mark.parametrize("name", ["config_text", "_with_lowest_ir_version", "sha256"])
@pytest.mark.parametrize("there", [False, True])
def test_nothing_is_left_where_writing_fails(
    artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, there: bool
) -> None:
    repository = tmp_path / "models"
    if there:
        repository.mkdir()

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(triton, name, fail)
    with pytest.raises(EdgeMLError, match="No space left on device"):
        add_to_repository(artifact, repository, "net")
    assert repository.exists() == there
    assert list(repository.rglob("*")) == []


def test_a_further_version_is_there_whole_or_not_at_all(
    artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_to_repository(artifact, tmp_path, "net")
    before = files(tmp_path)

    def fail(*_: object) -> bytes:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(triton, "_with_lowest_ir_version", fail)
    with pytest.raises(EdgeMLError, match="No space left on device"):
        add_to_repository(artifact, tmp_path, "net")
    assert files(tmp_path) == before


FIXED = TensorSpec("x", (1, 3), "float32")


@pytest.mark.parametrize(
    ("inputs", "outputs", "batch", "dims"),
    [
        ([("n", 3)], [("n", 2)], 32, [[3], [2]]),
        ([("n", 3, "h", "w")], [("n", 2)], 32, [[3, -1, -1], [2]]),
        ([(1, 3)], [(1, 2)], 0, [[1, 3], [1, 2]]),
        ([("n", 3)], [("m", 2)], 0, [[-1, 3], [-1, 2]]),
        ([("n", 3), (4,)], [("n", 2)], 0, [[-1, 3], [4], [-1, 2]]),
        ([("n", 3)], [("n",)], 0, [[-1, 3], [-1]]),
    ],
)
def test_requests_are_joined_where_all_share_one_dynamic_first_axis(
    inputs: list[tuple[int | str, ...]], outputs: list[tuple[int | str, ...]], batch: int, dims: list[list[int]]
) -> None:
    config = model_config(
        described(
            inputs=[TensorSpec(f"x{index}", shape, "float32") for index, shape in enumerate(inputs)],
            outputs=[TensorSpec(f"y{index}", shape, "float32") for index, shape in enumerate(outputs)],
        ),
        "net",
    )
    assert config.max_batch_size == batch
    assert config.HasField("dynamic_batching") == (batch > 0)
    assert [list(each.dims) for each in (*config.input, *config.output)] == dims
    assert f"\nmax_batch_size: {batch}\n" in config_text(config)


@pytest.mark.parametrize(
    ("dtype", "name"),
    [
        ("float32", "FP32"),
        ("float16", "FP16"),
        ("bfloat16", "BF16"),
        ("float64", "FP64"),
        ("bool", "BOOL"),
        ("uint8", "UINT8"),
        ("int64", "INT64"),
        ("str", "STRING"),
        ("object", "STRING"),
    ],
)
def test_dtypes_are_triton_s(dtype: str, name: str) -> None:
    theirs = pytest.importorskip("tritonclient.grpc.model_config_pb2")
    config = model_config(described(inputs=[TensorSpec("x", (1, 3), dtype)], outputs=[FIXED]), "net")
    assert theirs.DataType.Name(config.input[0].data_type) == f"TYPE_{name}"


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        (TensorSpec("x", (1, 3), "int4"), "x is of int4"),
        (TensorSpec("x", (), "float32"), "tensors of one axis or more"),
        (TensorSpec("x", (1, 0), "float32"), "none empty"),
    ],
)
def test_tensors_that_triton_has_no_form_for_are_refused(spec: TensorSpec, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        model_config(described(inputs=[spec], outputs=[FIXED]), "net")


def test_labels_belong_to_the_output_with_a_number_for_each_class() -> None:
    found = described(
        inputs=[FIXED],
        outputs=[TensorSpec("features", (1, 5), "float32"), TensorSpec("logits", (1, 2), "float32")],
        classes=("a", "b"),
    )
    assert [each.label_filename for each in model_config(found, "net").output] == ["", "labels.txt"]
    other = model_config(replace(found, classes=("a", "b", "c")), "net")
    assert not any(each.label_filename for each in other.output)


@pytest.mark.parametrize("label", ["a\nb", "a\r", "\ud800"])
def test_a_class_that_is_no_line_is_refused(artifact: Artifact, tmp_path: Path, label: str) -> None:
    with pytest.raises(UsageError, match="has a line break in its name"):
        add_to_repository(replace(artifact, classes=(label, *CLASSES[1:])), tmp_path / "models", "net")
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("tinynet-e", "tinynet-e"),
        ("timm:resnet18", "timm_resnet18"),
        ("net.py:make", "net.py_make"),
        ("..hidden", "hidden"),
        ("\u00e4", "_"),
        ("-", "model"),
    ],
)
def test_a_source_names_its_model(text: str, name: str) -> None:
    assert model_name(text) == name


def test_places_that_cannot_be_written_are_told_of_first(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "net").mkdir()
    for repository, name, reason in (
        (tmp_path / "file", "net", "it is a file"),
        (tmp_path / "none" / "models", "net", "does not exist; create it first"),
        (tmp_path, "a b", "the model's name is 'a b'"),
        (tmp_path, "net", r"has no config\.pbtxt"),
    ):
        with pytest.raises(UsageError, match=reason):
            check_place(repository, name)


def test_what_is_written_is_what_edgeml_serves(artifact: Artifact, tmp_path: Path) -> None:
    from edgeml.serving.engine.configuration import ModelConfiguration
    from edgeml.serving.repository.directory import DirectoryRepository

    add_to_repository(artifact, tmp_path / "models", "net")
    (source,) = DirectoryRepository(tmp_path / "models", ModelConfiguration()).scan()
    assert not source.faults
    assert list(source.versions) == ["1"]
    assert source.configuration.max_batch_size == 32
    assert source.configuration.dynamic_batching
    assert source.configuration.labels == {"logits": CLASSES}
    assert read_config(tmp_path / "models" / "net") == model_config(artifact, "net")
