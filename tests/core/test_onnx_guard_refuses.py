import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeml.core.errors import EdgeMLError, UntrustedFileError, UsageError
from edgeml.core.onnx_guard import OnnxLimits, check_onnx_file

INPUT = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3])
OUTPUT = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])
# Fields of ModelProto, GraphProto, NodeProto, AttributeProto and TensorProto that the cases below write by hand.
GRAPH, NODE, ATTRIBUTE = 7, 1, 5


def length_delimited(number: int, payload: bytes) -> bytes:
    """One field of wire type 2, by hand, since protobuf itself would not write these files."""
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def varint(value: int) -> bytes:
    low, rest = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])


def in_graph(payload: bytes) -> bytes:
    return length_delimited(GRAPH, payload)


def in_attribute(payload: bytes) -> bytes:
    return in_graph(length_delimited(NODE, length_delimited(ATTRIBUTE, payload)))


def model(
    nodes: list[onnx.NodeProto] | None = None,
    initializers: list[onnx.TensorProto] | None = None,
    functions: list[onnx.FunctionProto] | None = None,
) -> onnx.ModelProto:
    made = nodes if nodes is not None else [helper.make_node("Relu", ["x"], ["y"])]
    graph = helper.make_graph(made, "g", [INPUT], [OUTPUT], initializers or [])
    return helper.make_model(graph, functions=functions or [])


def tensor(**changes: object) -> onnx.TensorProto:
    """A float tensor of shape (2, 3) with some of its fields changed."""
    made = numpy_helper.from_array(np.zeros((2, 3), np.float32), "w")
    for name, value in changes.items():
        made.ClearField(name)
        if value is None:
            getattr(made, name).SetInParent()
        elif isinstance(value, list):
            getattr(made, name).extend(value)
        else:
            setattr(made, name, value)
    return made


def refuse(tmp_path: Path, content: bytes, limits: OnnxLimits | None = None) -> EdgeMLError:
    """The one-line error that `content` gives, after the check used little memory."""
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(EdgeMLError) as caught:
            check_onnx_file(path, limits or OnnxLimits())
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()
    assert str(caught.value).startswith(f"{path}")
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00",
        b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + b"\x00" * 40,
        b"PK\x03\x04" + b"\x00" * 40,
        b"\x1c\x00\x00\x00ORTM" + b"\x00" * 40,
        b"{\n  \"irVersion\": 7\n}",
        b"ir_version: 7\ngraph { }",
        b"#!/bin/sh\n",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
        b"\x08\x07",  # an ir_version and nothing else
        in_graph(b"") + in_graph(b""),  # two graphs, which protobuf would merge
        b"\x38\x05",  # the graph as a number
        in_graph(length_delimited(2, b"\xff\xfe")),  # a name that is no text
        in_graph(b"\x10\x05"),  # a name as a number
        in_graph(length_delimited(5, b"\x10" + varint(1 << 40))),  # a data type beyond 32 bits
        in_graph(length_delimited(5, length_delimited(4, b"\x00" * 5))),  # floats that are not whole
        in_graph(length_delimited(5, length_delimited(7, b"\x01\x80"))),  # a packed number cut off
        in_graph(length_delimited(5, b"\x0b\x08\x01\x0c")),  # a group where dims should be
        model().SerializeToString()[:-3],
        model().SerializeToString() + b"\x3a",
    ],
)  # fmt: skip
def test_what_is_no_onnx_model_is_a_usage_error(tmp_path: Path, content: bytes) -> None:
    error = refuse(tmp_path, content)
    assert isinstance(error, UsageError)
    assert "no ONNX model" in str(error)


def test_a_data_location_that_onnx_does_not_know_is_refused(tmp_path: Path) -> None:
    content = in_graph(length_delimited(5, tensor().SerializeToString() + b"\x70\x07"))
    assert "data location 7" in str(refuse(tmp_path, content))


MANY = 3000
EMPTY_TENSOR = length_delimited(5, onnx.TensorProto(data_type=1, dims=[0]).SerializeToString())


@pytest.mark.parametrize(
    ("limit", "value", "content"),
    [
        ("file_bytes", 1000, in_graph(b"\x0a\x00" * MANY)),
        ("fields", 1000, in_graph(b"\x0a\x00" * MANY)),
        ("overhead_bytes", 100_000, in_graph(b"\x0a\x00" * MANY)),
        ("nodes", 1000, in_graph(b"\x0a\x00" * MANY)),
        ("nodes", 1000, length_delimited(25, b"\x3a\x00" * MANY) + in_graph(b"")),
        ("tensors", 1000, in_graph(EMPTY_TENSOR * MANY)),
        ("attributes", 1000, in_graph(length_delimited(1, b"\x2a\x00" * MANY))),
        ("value_infos", 1000, in_graph(b"\x5a\x00" * MANY)),
        ("value_infos", 1000, in_graph(b"\x6a\x00" * MANY)),
        ("functions", 1000, b"".join(length_delimited(25, b"\x0a\x04%04x" % i) for i in range(MANY))),
        ("metadata_entries", 1000, b"\x72\x00" * MANY),
        ("metadata_entries", 1000, in_graph(length_delimited(1, b"\x4a\x00" * MANY))),
        ("overhead_bytes", 50_000, in_attribute(length_delimited(8, b"\x01" * MANY))),  # packed ints
        ("overhead_bytes", 50_000, in_attribute(b"\x40\x01" * MANY)),  # ints one by one
        ("overhead_bytes", 50_000, in_attribute(b"\x4a\x00" * MANY)),  # empty strings
        ("overhead_bytes", 50_000, in_graph(length_delimited(1, b"\x0a\x00" * MANY))),  # empty input names
        ("overhead_bytes", 50_000, in_graph(length_delimited(5, length_delimited(7, b"\x01" * MANY)))),  # int64 data
        ("overhead_bytes", 50_000, varint(99 << 3) + b"\x01" + (varint(99 << 3) + b"\x01") * MANY),  # unknown fields
        ("overhead_bytes", 50_000, in_graph(length_delimited(11, length_delimited(2, b"\x0a\x00")) * MANY)),
        ("name_bytes", 100, in_graph(length_delimited(2, b"n" * 200))),
        ("text_bytes", 100, in_graph(length_delimited(10, b"n" * 200))),
        ("text_bytes", 100, length_delimited(14, length_delimited(2, b"n" * 200))),
        ("tensor_elements", 5, model(initializers=[tensor()]).SerializeToString()),
        ("tensor_bytes", 40, model(initializers=[tensor(), tensor(name="v")]).SerializeToString()),
        ("rank", 1, model(initializers=[tensor()]).SerializeToString()),
    ],
)
def test_more_than_a_limit_is_refused(tmp_path: Path, limit: str, value: int, content: bytes) -> None:
    error = refuse(tmp_path, content, OnnxLimits(**{limit: value}))
    assert isinstance(error, UntrustedFileError)
    assert str(value) in str(error)


def test_what_breaks_a_limit_passes_with_a_higher_one(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(in_graph(b"\x0a\x00" * MANY))
    assert check_onnx_file(path, OnnxLimits(nodes=MANY)).nodes == MANY


def nested_types(levels: int) -> bytes:
    made = b""
    for _ in range(levels):
        made = length_delimited(4, length_delimited(1, made))
    return in_graph(length_delimited(11, length_delimited(2, made)))


def nested_graphs(levels: int) -> bytes:
    made = b""
    for _ in range(levels):
        made = length_delimited(NODE, length_delimited(ATTRIBUTE, length_delimited(6, made)))
    return in_graph(made)


@pytest.mark.parametrize("nested", [nested_types, nested_graphs])
def test_deep_nesting_is_refused_before_it_exhausts_a_stack(tmp_path: Path, nested: Callable[[int], bytes]) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(nested(15))
    check_onnx_file(path)
    assert "nested more than the allowed 64 deep" in str(refuse(tmp_path, nested(10_000)))


def test_a_declared_shape_over_the_limit_is_refused(tmp_path: Path) -> None:
    made = model()
    made.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1 << 40
    assert "a declared value has the shape" in str(refuse(tmp_path, made.SerializeToString()))
    made.graph.input[0].type.tensor_type.shape.dim[0].dim_value = -2
    assert "no axis may be negative" in str(refuse(tmp_path, made.SerializeToString()))


def test_a_path_that_is_no_model_file_is_a_usage_error(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.onnx")
    (tmp_path / "folder.onnx").mkdir()
    (tmp_path / "loop.onnx").symlink_to(tmp_path / "loop.onnx")
    (tmp_path / "null.onnx").symlink_to("/dev/null")
    for name in ("pipe.onnx", "folder.onnx", "loop.onnx", "null.onnx", "missing.onnx", "x" * 300 + ".onnx", "\0.onnx"):
        with pytest.raises(UsageError, match=r"no regular file|cannot read"):
            check_onnx_file(tmp_path / name)


@pytest.mark.parametrize("name", ["model.json", "model.ort", "model.textproto", "model"])
def test_a_name_that_libraries_read_as_another_format_is_a_usage_error(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(model().SerializeToString())
    with pytest.raises(UsageError, match=r"not named \*\.onnx"):
        check_onnx_file(tmp_path / name)


def test_a_file_larger_than_protobuf_reads_is_refused_without_reading_it(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(UntrustedFileError, match="at most 2147483647 are allowed"):
        check_onnx_file(path)
