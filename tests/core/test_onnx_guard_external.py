import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeml.core.errors import UntrustedFileError
from edgeml.core.onnx_guard import ExternalFile, check_onnx_file

WEIGHTS = np.arange(6, dtype=np.float32)


def write(directory: Path, *entries: tuple[str, str], tensor: onnx.TensorProto | None = None) -> Path:
    """A model whose one tensor has these external data entries."""
    stored = tensor or onnx.TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[6])
    stored.data_location = TensorProto.EXTERNAL
    for key, value in entries:
        stored.external_data.add(key=key, value=value)
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [6])
    graph = helper.make_graph([helper.make_node("Relu", ["w"], ["y"])], "g", [], [output], [stored])
    path = directory / "model.onnx"
    path.write_bytes(helper.make_model(graph).SerializeToString())
    return path


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory with weights.bin, and a secret outside it."""
    (tmp_path / "secret.bin").write_bytes(WEIGHTS.tobytes())
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "weights.bin").write_bytes(b"\0" * 8 + WEIGHTS.tobytes() + b"\0" * 4)
    return tmp_path / "models"


def test_a_plain_name_beside_the_model_is_accepted(directory: Path) -> None:
    path = write(directory, ("location", "weights.bin"), ("offset", "8"), ("length", "24"), ("checksum", "0"))
    summary = check_onnx_file(path)
    assert summary.external_files == (ExternalFile(name="weights.bin", size_bytes=36),)
    assert summary.tensor_bytes == 24
    assert numpy_helper.to_array(onnx.load(path).graph.initializer[0]).tolist() == WEIGHTS.tolist()


def test_the_rest_of_the_file_may_be_meant(directory: Path) -> None:
    assert check_onnx_file(write(directory, ("location", "weights.bin"), ("offset", "12"))).tensor_bytes == 24


def test_what_onnx_saves_is_accepted(tmp_path: Path) -> None:
    tensors = [numpy_helper.from_array(np.ones(1000, np.float32), f"w{index}") for index in range(3)]
    graph = helper.make_graph([], "g", [], [], tensors)
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph), path, save_as_external_data=True, location="model.data", size_threshold=0)
    assert [file.name for file in check_onnx_file(path).external_files] == ["model.data"]
    assert check_onnx_file(path).tensor_bytes == 12_000


@pytest.mark.parametrize(
    "location",
    [
        "",
        ".",
        "..",
        "../secret.bin",
        "/etc/passwd",
        "sub/weights.bin",
        "./weights.bin",
        "..\\secret.bin",
        "C:weights.bin",
        "C:\\weights.bin",
        "//server/share",
        "weights.bin\0",
        "weights.bin\n",
        "weights.bin:stream",
        "*/_ORT_MEM_ADDR_/*",
        "w" * 300,
    ],
)
def test_a_location_that_is_no_plain_name_is_refused(directory: Path, location: str) -> None:
    with pytest.raises(
        UntrustedFileError, match="only the plain name of a file in the model's own directory"
    ) as caught:
        check_onnx_file(write(directory, ("location", location), ("offset", "8"), ("length", "24")))
    assert "\n" not in str(caught.value)


def test_a_missing_location_is_refused(directory: Path) -> None:
    with pytest.raises(UntrustedFileError, match="only the plain name"):
        check_onnx_file(write(directory, ("offset", "8")))


def test_a_missing_file_is_told(directory: Path) -> None:
    with pytest.raises(UntrustedFileError, match=r"No such file.*put the file beside the model"):
        check_onnx_file(write(directory, ("location", "other.bin")))


def test_a_link_to_a_file_elsewhere_is_refused(directory: Path) -> None:
    (directory / "link.bin").symlink_to(directory.parent / "secret.bin")
    with pytest.raises(UntrustedFileError, match="no regular file"):
        check_onnx_file(write(directory, ("location", "link.bin")))


def test_a_hard_link_is_refused(directory: Path) -> None:
    os.link(directory.parent / "secret.bin", directory / "hard.bin")
    with pytest.raises(UntrustedFileError, match="hard link"):
        check_onnx_file(write(directory, ("location", "hard.bin")))


def test_a_pipe_or_directory_is_refused_without_waiting(directory: Path) -> None:
    os.mkfifo(directory / "pipe")
    (directory / "folder").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises(UntrustedFileError, match="no regular file"):
            check_onnx_file(write(directory, ("location", name)))


@pytest.mark.parametrize(
    ("offset", "length"),
    [
        ("13", "24"),
        ("8", "25"),
        ("8", "20"),
        ("8", None),
        ("40", None),
        ("9223372036854775807", "24"),
        ("8", "9223372036854775807"),
        ("0", "0"),
    ],
)
def test_a_range_that_is_not_the_tensor_is_refused(directory: Path, offset: str, length: str | None) -> None:
    entries = [("location", "weights.bin"), ("offset", offset)]
    with pytest.raises(UntrustedFileError, match="needs 24 bytes"):
        check_onnx_file(write(directory, *entries, *([("length", length)] if length is not None else [])))


@pytest.mark.parametrize("number", ["-8", "+8", " 8", "8.0", "0x8", "1_0", "", "9" * 30, "\u0668"])
def test_an_offset_or_length_that_is_no_number_is_refused(directory: Path, number: str) -> None:
    for key in ("offset", "length"):
        with pytest.raises(UntrustedFileError, match=f"has the {key} .*; it must be a number of bytes"):
            check_onnx_file(write(directory, ("location", "weights.bin"), (key, number)))


def test_an_unknown_or_repeated_entry_is_refused(directory: Path) -> None:
    for entry in (("basepath", "/"), ("location", "weights.bin"), ("__class__", "x")):
        with pytest.raises(UntrustedFileError, match="allowed, once each"):
            check_onnx_file(write(directory, ("location", "weights.bin"), entry))


def test_data_inside_and_beside_the_file_is_refused(directory: Path) -> None:
    with pytest.raises(UntrustedFileError, match="inside the file as well as beside it"):
        check_onnx_file(write(directory, ("location", "weights.bin"), tensor=numpy_helper.from_array(WEIGHTS, "w")))


def test_strings_beside_the_file_are_refused(directory: Path) -> None:
    tensor = onnx.TensorProto(name="w", data_type=TensorProto.STRING, dims=[1])
    with pytest.raises(UntrustedFileError, match="STRING"):
        check_onnx_file(write(directory, ("location", "weights.bin"), tensor=tensor))


def test_a_file_with_a_hole_does_not_pass_the_limit_on_tensors(directory: Path) -> None:
    with (directory / "hole.bin").open("wb") as file:
        file.truncate(1 << 40)
    tensor = onnx.TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1 << 38])
    with pytest.raises(UntrustedFileError, match="elements are allowed"):
        check_onnx_file(write(directory, ("location", "hole.bin"), tensor=tensor))


def test_many_tensors_on_the_same_bytes_count_each(tmp_path: Path) -> None:
    with (tmp_path / "w.bin").open("wb") as file:
        file.truncate(1 << 30)
    tensors = []
    for index in range(5):
        tensor = onnx.TensorProto(
            name=f"w{index}", data_type=TensorProto.FLOAT, dims=[1 << 28], data_location=TensorProto.EXTERNAL
        )
        tensor.external_data.add(key="location", value="w.bin")
        tensors.append(tensor)
    path = tmp_path / "model.onnx"
    path.write_bytes(helper.make_model(helper.make_graph([], "g", [], [], tensors)).SerializeToString())
    with pytest.raises(UntrustedFileError, match="4294967296 bytes of tensors"):
        check_onnx_file(path)
