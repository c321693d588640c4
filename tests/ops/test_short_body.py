"""Shortening a body merges equal nodes and computes the same."""

import numpy as np
import onnx
from onnx import helper
from onnx.reference import ReferenceEvaluator

from edgeml.ops.short_body import shorten


def function() -> onnx.FunctionProto:
    nodes = [
        helper.make_node("Constant", [], ["two"], value_float=2.0),
        helper.make_node("Constant", [], ["two_again"], value_float=2.0),
        helper.make_node("Constant", [], ["three"], value_float=3.0),
        helper.make_node("Mul", ["a", "two"], ["left"]),
        helper.make_node("Mul", ["a", "two_again"], ["right"]),
        helper.make_node("Add", ["left", "three"], ["b"]),
        helper.make_node("Add", ["right", "three"], ["Y"]),
    ]
    return helper.make_function("test", "F", ["a"], ["Y", "b"], nodes, [helper.make_opsetid("", 18)])


def test_equal_nodes_are_merged_and_outputs_stay() -> None:
    original, short = function(), function()
    shorten(short)
    assert [node.op_type for node in short.node] == ["Constant", "Constant", "Mul", "Add", "Add"]
    assert short.ByteSize() < original.ByteSize()
    feeds = {"a": np.array([1, -4], np.float32)}
    for found, expected in zip(
        ReferenceEvaluator(short).run(None, feeds, {}), ReferenceEvaluator(original).run(None, feeds, {}), strict=True
    ):
        np.testing.assert_array_equal(found, expected)


def test_new_names_spare_those_of_inputs_and_outputs() -> None:
    short = function()
    shorten(short)
    made = [name for node in short.node for name in node.output]
    assert len(set(made) | {"a"}) == len(made) + 1
