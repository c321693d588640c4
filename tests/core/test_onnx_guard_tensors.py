import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeml.core.errors import EdgeMLError, UntrustedFileError
from edgeml.core.onnx_guard import check_onnx_file

INPUT = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3])
OUTPUT = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])


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


def refuse(tmp_path: Path, content: bytes) -> EdgeMLError:
    """The one-line error that `content` gives, after the check used little memory."""
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(EdgeMLError) as caught:
            check_onnx_file(path)
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()
    assert str(caught.value).startswith(f"{path}")
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (tensor(dims=[2, 4]), "declares FLOAT[2, 4], which is 32 bytes of raw data, and holds 24"),
        (tensor(dims=[]), "which is 4 bytes of raw data, and holds 24"),
        (tensor(raw_data=b""), "holds 0"),
        (tensor(dims=[-2, -3]), "no axis may be negative"),
        (tensor(dims=[1 << 62, 1 << 62]), "elements are allowed"),
        (tensor(dims=[1 << 32, 1 << 32, 0], raw_data=b""), "elements are allowed"),
        (tensor(dims=[1 << 20, 1 << 20], raw_data=b""), "elements are allowed"),
        (tensor(dims=[1] * 33), "33 axes"),
        (tensor(data_type=0), "data type 0"),
        (tensor(data_type=99), "data type 99"),
        (tensor(data_type=-1), "data type -1"),
        (tensor(data_type=TensorProto.DOUBLE), "holds 24"),
        (tensor(data_type=TensorProto.STRING), "not its type's"),
        (tensor(float_data=[0.0] * 6), "not its type's"),
        (tensor(raw_data=b"", float_data=[0.0] * 6), "not its type's"),
        (tensor(data_location=TensorProto.EXTERNAL), "not clear"),
        (tensor(external_data=[onnx.StringStringEntryProto(key="location", value="w.bin")]), "not clear"),
        (tensor(segment=None), "in segments"),
        (
            onnx.TensorProto(data_type=TensorProto.INT64, dims=[3], int64_data=[1, 2]),
            "3 numbers in int64_data, and holds 2",
        ),
        (onnx.TensorProto(data_type=TensorProto.INT64, dims=[1], int32_data=[1]), "not its type's"),
        (
            onnx.TensorProto(data_type=TensorProto.INT4, dims=[3], int32_data=[1, 2, 3]),
            "2 numbers in int32_data, and holds 3",
        ),
        (onnx.TensorProto(data_type=TensorProto.STRING, dims=[2], string_data=[b"a"]), "2 numbers in string_data"),
        (onnx.TensorProto(data_type=TensorProto.COMPLEX64, dims=[2], float_data=[1.0]), "4 numbers in float_data"),
        (tensor(name="\x1b[2J" + "long" * 100, dims=[1]), r"tensor '\x1b[2Jlonglong"),
    ],
)
def test_a_tensor_that_is_not_what_it_declares_is_refused(tmp_path: Path, wrong: onnx.TensorProto, told: str) -> None:
    error = refuse(tmp_path, model(initializers=[wrong]).SerializeToString())
    assert isinstance(error, UntrustedFileError)
    assert told in str(error)
    assert len(str(error).removeprefix(str(tmp_path))) < 400


def constant(wrong: onnx.TensorProto) -> onnx.ModelProto:
    return model([helper.make_node("Constant", [], ["c"], value=wrong)])


def list_attribute(wrong: onnx.TensorProto) -> onnx.ModelProto:
    return model([helper.make_node("Custom", [], ["c"], domain="other", values=[tensor(), wrong])])


def subgraph(wrong: onnx.TensorProto) -> onnx.ModelProto:
    branch = helper.make_graph([], "branch", [], [OUTPUT], [wrong])
    return model([helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch)])


def function_body(wrong: onnx.TensorProto) -> onnx.ModelProto:
    body = [helper.make_node("Constant", [], ["y"], value=wrong)]
    return model(functions=[helper.make_function("own", "F", [], ["y"], body, [helper.make_opsetid("", 18)])])


def function_default(wrong: onnx.TensorProto) -> onnx.ModelProto:
    made = function_body(tensor())
    made.functions[0].attribute_proto.append(helper.make_attribute("default", wrong))
    return made


def sparse(values: onnx.TensorProto, positions: int = 1, dims: tuple[int, ...] = (6,)) -> onnx.SparseTensorProto:
    indices = numpy_helper.from_array(np.arange(positions, dtype=np.int64), "i")
    return onnx.SparseTensorProto(values=values, indices=indices, dims=dims)


def sparse_initializer(wrong: onnx.TensorProto) -> onnx.ModelProto:
    made = model()
    made.graph.sparse_initializer.append(sparse(wrong))
    return made


def sparse_constant(wrong: onnx.TensorProto) -> onnx.ModelProto:
    return model([helper.make_node("Constant", [], ["c"], sparse_value=sparse(wrong))])


def training(wrong: onnx.TensorProto) -> onnx.ModelProto:
    made = model()
    made.training_info.add().algorithm.initializer.append(wrong)
    return made


@pytest.mark.parametrize(
    "place",
    [
        constant,
        list_attribute,
        subgraph,
        function_body,
        function_default,
        sparse_initializer,
        sparse_constant,
        training,
    ],
)
def test_a_wrong_tensor_is_found_wherever_it_lies(
    tmp_path: Path, place: Callable[[onnx.TensorProto], onnx.ModelProto]
) -> None:
    error = refuse(tmp_path, place(tensor(dims=[1 << 40, 1 << 40])).SerializeToString())
    assert isinstance(error, UntrustedFileError)
    assert "'w'" in str(error)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (sparse(numpy_helper.from_array(np.ones(1, np.float32), "v"), dims=(1 << 20, 1 << 20)), "elements are allowed"),
        (sparse(numpy_helper.from_array(np.ones(1, np.float32), "v"), positions=2), "values [1] and indices [2]"),
        (sparse(numpy_helper.from_array(np.ones((1, 1), np.float32), "v")), "values [1, 1]"),
        (sparse(numpy_helper.from_array(np.ones(7, np.float32), "v"), positions=7), "7 values for the 6 elements"),
        (onnx.SparseTensorProto(dims=[3]), "lacks"),
    ],
)
def test_a_sparse_tensor_whose_parts_do_not_fit_is_refused(
    tmp_path: Path, wrong: onnx.SparseTensorProto, told: str
) -> None:
    made = model()
    made.graph.sparse_initializer.append(wrong)
    assert told in str(refuse(tmp_path, made.SerializeToString()))


def test_weights_are_skipped_not_read(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(
        model(initializers=[numpy_helper.from_array(np.zeros(1 << 24, np.float32), "w")]).SerializeToString()
    )
    tracemalloc.start()
    summary = check_onnx_file(path)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()
    assert summary.tensor_bytes == 1 << 26
