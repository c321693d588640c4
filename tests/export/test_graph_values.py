from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgeml.export.graph_values import GraphValues


def graph_of(nodes: list[onnx.NodeProto], **constants: np.ndarray) -> onnx.GraphProto:
    return helper.make_graph(
        nodes,
        "values",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )


def test_constants_are_followed_through_what_rearranges_them() -> None:
    nodes = [
        helper.make_node("Transpose", ["w"], ["t"]),
        helper.make_node("Constant", [], ["shape"], value_ints=[3, -1]),
        helper.make_node("Reshape", ["t", "shape"], ["r"]),
        helper.make_node("Identity", ["r"], ["i"]),
        helper.make_node("MatMul", ["i", "i"], ["m"]),
        helper.make_node("Add", ["x", "m"], ["y"]),
    ]
    w = np.arange(6, dtype=np.float32).reshape(2, 3)
    values = GraphValues(graph_of(nodes, w=w))
    found = values.constant("i")
    assert found is not None
    assert np.array_equal(found, w.T.reshape(3, -1))
    assert values.constant("m") is None
    assert values.constant("x") is None
    assert values.constant("nothing") is None


def test_an_initializer_that_a_user_may_replace_is_no_constant() -> None:
    graph = graph_of([helper.make_node("Identity", ["x"], ["y"])], x=np.zeros(3, np.float32))
    assert GraphValues(graph).constant("x") is None


def test_a_constant_that_does_not_fit_its_operator_is_none() -> None:
    nodes = [helper.make_node("Reshape", ["w", "shape"], ["y"])]
    graph = graph_of(nodes, w=np.zeros(5, np.float32), shape=np.array([2, 3]))
    assert GraphValues(graph).constant("y") is None


def test_a_few_bytes_do_not_grow_into_many() -> None:
    column, row = np.zeros((2000, 1), np.uint8), np.zeros((1, 2000), np.uint8)
    graph = graph_of([helper.make_node("BitwiseAnd", ["column", "row"], ["y"])], column=column, row=row)
    assert GraphValues(graph).constant("y") is None


def test_readers_shapes_and_free_names_count_what_sub_graphs_read() -> None:
    inside = helper.make_graph([helper.make_node("Neg", ["x"], ["z"])], "inside", [], [])
    nodes = [
        helper.make_node("If", ["w"], ["a"], then_branch=inside, else_branch=inside),
        helper.make_node("Add", ["x", "a"], ["y"], name="sum"),
    ]
    values = GraphValues(graph_of(nodes, w=np.zeros((2, 4), np.float32)))
    assert values.readers["x"] == 3
    assert values.readers["y"] == 1
    assert values.shape("x") == (None, 3)
    assert values.shape("w") == (2, 4)
    assert values.shape("a") is None
    assert values.shape("y") is None
    assert [values.unused("sum"), values.unused("sum"), values.unused("new")] == ["sum_1", "sum_2", "new"]
