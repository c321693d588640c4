from __future__ import annotations

import numpy as np
import onnx
from onnx import helper

from edgeml.export.clean import SCOPES_KEY, clean, to_bytes
from edgeml.export.run_onnx import run_onnx
from tests.export.conftest import SHAPE, Case


def test_no_machine_path_or_stack_trace_is_left_in_the_file(case: Case) -> None:
    content = to_bytes(case.model)
    assert b".py" not in content
    assert b"/site-packages" not in content
    assert {entry.key for node in case.model.graph.node for entry in node.metadata_props} == {SCOPES_KEY}


def test_batch_norms_are_folded_and_spatial_means_are_poolings(case: Case) -> None:
    kinds = {node.op_type for node in case.model.graph.node}
    assert "BatchNormalization" not in kinds
    assert "ReduceMean" not in kinds
    assert "GlobalAveragePool" in kinds


def test_cleaning_changes_no_output(case: Case) -> None:
    inputs = {"input": np.random.default_rng(0).standard_normal((2, *SHAPE)).astype(np.float32)}
    before, after = run_onnx(case.exported.model, inputs), run_onnx(case.model, inputs)
    np.testing.assert_allclose(after["logits"], before["logits"], rtol=1e-5, atol=1e-6)


def test_a_mean_over_other_axes_stays_a_mean() -> None:
    node = helper.make_node("ReduceMean", ["x", "axes"], ["y"], keepdims=1)
    axes = helper.make_tensor("axes", onnx.TensorProto.INT64, [2], [1, 2])
    x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 3, 4, 4])
    y = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", 1, 1, 4])
    model = helper.make_model(
        helper.make_graph([node], "g", [x], [y], [axes]), opset_imports=[helper.make_opsetid("", 18)]
    )
    assert [entry.op_type for entry in clean(model).graph.node] == ["ReduceMean"]


def test_inlining_leaves_no_function() -> None:
    body = [helper.make_node("Add", ["a", "a"], ["b"])]
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("mine", 1)]
    function = helper.make_function("mine", "Twice", ["a"], ["b"], body, opsets[:1])
    x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 3])
    y = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", 3])
    graph = helper.make_graph([helper.make_node("Twice", ["x"], ["y"], domain="mine")], "g", [x], [y])
    model = helper.make_model(graph, functions=[function], opset_imports=opsets)
    assert not clean(model, inline_functions=True).functions
