import tracemalloc
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


def call(name: str, times: int) -> list[onnx.NodeProto]:
    return [helper.make_node(name, ["x"], ["y"], domain="own") for _ in range(times)]


def own_function(name: str, body: list[onnx.NodeProto]) -> onnx.FunctionProto:
    return helper.make_function("own", name, ["x"], ["y"], body, [helper.make_opsetid("own", 1)])


def test_functions_that_expand_exponentially_are_refused(tmp_path: Path) -> None:
    functions = [own_function(f"F{i}", call(f"F{i + 1}", 10)) for i in range(9)] + [
        own_function("F9", call("Leaf", 10))
    ]
    made = model(call("F0", 1), functions=functions)
    assert len(made.SerializeToString()) < 5000
    assert "to more than the allowed 100000 nodes" in str(refuse(tmp_path, made.SerializeToString()))


def test_calls_of_the_graph_are_expanded_too(tmp_path: Path) -> None:
    made = model(call("F", 1000), functions=[own_function("F", call("Leaf", 101))])
    assert "the graph's function calls expand" in str(refuse(tmp_path, made.SerializeToString()))


def test_a_function_that_calls_itself_is_refused(tmp_path: Path) -> None:
    made = model(call("A", 1), functions=[own_function("A", call("B", 1)), own_function("B", call("A", 1))])
    assert "calls itself" in str(refuse(tmp_path, made.SerializeToString()))


def test_functions_that_call_each_other_too_deep_are_refused(tmp_path: Path) -> None:
    functions = [own_function(f"F{i}", call(f"F{i + 1}", 1)) for i in range(100)]
    assert "64 deep" in str(refuse(tmp_path, model(call("F0", 1), functions=functions).SerializeToString()))


def test_two_functions_of_one_name_are_refused(tmp_path: Path) -> None:
    made = model(functions=[own_function("F", call("A", 1)), own_function("F", call("B", 1))])
    assert "defined twice" in str(refuse(tmp_path, made.SerializeToString()))


HUGE = np.array([1 << 20, 1 << 20], np.int64)
TYPED = onnx.TensorProto(name="s", data_type=TensorProto.INT64, dims=[2], int64_data=HUGE.tolist())


@pytest.mark.parametrize(
    "made",
    [
        model([helper.make_node("ConstantOfShape", ["s"], ["y"])], [numpy_helper.from_array(HUGE, "s")]),
        model([helper.make_node("ConstantOfShape", ["s"], ["y"])], [TYPED]),
        model([helper.make_node("Expand", ["x", "s"], ["y"])], [numpy_helper.from_array(HUGE, "s")]),
        model([helper.make_node("Tile", ["x", "s"], ["y"])], [numpy_helper.from_array(HUGE, "s")]),
        model(
            [
                helper.make_node("Constant", [], ["s"], value=numpy_helper.from_array(HUGE)),
                helper.make_node("ConstantOfShape", ["s"], ["y"]),
            ]
        ),
        model(
            [
                helper.make_node("ConstantOfShape", ["s"], ["y"]),
                helper.make_node("Constant", [], ["s"], value_ints=HUGE.tolist()),
            ]
        ),
        model([helper.make_node("RandomNormal", [], ["y"], shape=HUGE.tolist())]),
        model(
            [
                helper.make_node(
                    "If",
                    ["x"],
                    ["y"],
                    then_branch=helper.make_graph(
                        [helper.make_node("ConstantOfShape", ["s"], ["y"])], "g", [], [OUTPUT]
                    ),
                )
            ],
            [numpy_helper.from_array(HUGE, "s")],
        ),
        model(
            [helper.make_node("ConstantOfShape", ["s"], [f"y{i}"]) for i in range(300)],
            [numpy_helper.from_array(np.array([1 << 20], np.int64), "s")],
        ),
    ],
)
def test_nodes_that_fill_a_giant_constant_shape_are_refused(tmp_path: Path, made: onnx.ModelProto) -> None:
    error = refuse(tmp_path, made.SerializeToString())
    assert isinstance(error, UntrustedFileError)
    assert "fill constant shapes" in str(error)


def test_a_function_does_not_see_the_constants_of_the_graph(tmp_path: Path) -> None:
    body = [helper.make_node("ConstantOfShape", ["s"], ["y"])]
    made = model(
        initializers=[numpy_helper.from_array(HUGE, "s")],
        functions=[helper.make_function("own", "F", ["s"], ["y"], body, [helper.make_opsetid("", 18)])],
    )
    path = tmp_path / "model.onnx"
    onnx.save(made, path)
    assert check_onnx_file(path).functions == 1
