from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from edgeml.export.clean import clean
from edgeml.export.late_signs import take_signs_late
from edgeml.export.onnx_source import read_onnx
from edgeml.export.run_onnx import run_onnx
from tests.export.test_binary_layers import Arrays, model_of, signs_of


def pooled(nodes: list[onnx.NodeProto], **changes: np.ndarray) -> onnx.ModelProto:
    """Signs of x (2, 6, 4, 4), a pooling of them as "p", flattened as "f", and other nodes to "y"."""
    generator = np.random.default_rng(0)
    constants: Arrays = {
        "threshold": np.array(0.1), "scale": np.array(0.5),
        "w": generator.choice([-1.0, 1.0], (54, 5)), "v": generator.standard_normal((54, 5)),
    }  # fmt: skip
    before = [
        *signs_of("x", "s"),
        helper.make_node("MaxPool", ["s"], ["p"], kernel_shape=[2, 2], pads=[0, 0, 0, 0]),
        helper.make_node("Flatten", ["p"], ["f"]),
    ]
    return model_of([*before, *nodes], constants | changes, [2, 6, 4, 4], 2)


def moved(model: onnx.ModelProto) -> tuple[list[str], bool]:
    """Operators after the pass, and whether the output is the same."""
    x = np.random.default_rng(1).standard_normal((2, 6, 4, 4)).astype(np.float32)
    (before,) = run_onnx(model, {"x": x}).values()
    take_signs_late(model.graph)
    onnx.checker.check_model(model, full_check=True)
    (after,) = run_onnx(model, {"x": x}).values()
    return [node.op_type for node in model.graph.node], np.array_equal(before, after)


def test_signs_move_past_pooling_and_reshaping_to_the_layer() -> None:
    model = pooled([helper.make_node("MatMul", ["f", "w"], ["y"])])
    assert moved(model) == (["MaxPool", "Flatten", "Less", "Where", "MatMul"], True)


def test_two_layers_share_the_moved_signs_and_other_readers_keep_the_old_ones() -> None:
    nodes = [
        helper.make_node("MatMul", ["f", "w"], ["a"]),
        helper.make_node("MatMul", ["f", "v"], ["b"]),
        helper.make_node("ReduceSum", ["f"], ["c"]),
        helper.make_node("Sum", ["a", "b", "c"], ["y"]),
    ]
    kinds, same = moved(pooled(nodes))
    assert same
    assert sorted(kinds) == sorted(
        ["Less", "Where", "MaxPool", "Flatten"] * 2 + ["MatMul", "MatMul", "ReduceSum", "Sum"]
    )


@pytest.mark.parametrize(
    "changes", [{"scale": np.array(-0.5)}, {"threshold": np.zeros((6, 1, 1))}], ids=["turned", "by channel"]
)
def test_turned_signs_and_thresholds_by_channel_stay(changes: Arrays) -> None:
    model = pooled([helper.make_node("MatMul", ["f", "w"], ["y"])], **changes)
    assert moved(model) == (["Less", "Where", "MaxPool", "Flatten", "MatMul"], True)


@pytest.mark.torch
def test_a_file_and_its_cleaned_form_take_signs_of_the_same_value(tmp_path: Path) -> None:
    onnx.save(pooled([helper.make_node("MatMul", ["f", "w"], ["y"])]), tmp_path / "net.onnx")
    source = read_onnx(tmp_path / "net.onnx")
    cleaned = clean(source)
    assert [node.op_type for node in cleaned.graph.node] == ["MaxPool", "Reshape", "BinaryDense"]
    (less,) = (node for node in source.graph.node if node.op_type == "Less")
    assert cleaned.graph.node[-1].input[0] == less.input[0]
