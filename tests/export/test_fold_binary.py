from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeml.export.clean import clean
from edgeml.export.fold_binary import fold_binary
from edgeml.export.run_onnx import run_onnx
from edgeml.ops import binary_conv, binary_dense
from edgeml.ops.attach import attach_functions

CHANNELS, FILTERS = 6, 5


def model_of(
    layer: str,
    *,
    before: Sequence[onnx.NodeProto] = (),
    after: Sequence[onnx.NodeProto] = (),
    constants: dict[str, np.ndarray] | None = None,
    threshold: bool = False,
    shape: Sequence[int] | None = None,
    outputs: Sequence[str] = ("y",),
) -> onnx.ModelProto:
    """A binary layer from "a" to "b", "x" before it and "y" at the end."""
    generator = np.random.default_rng(0)
    conv = layer == "conv"
    rows = generator.integers(0, 256, (FILTERS, 7 if conv else 1)).astype(np.uint8)
    values: dict[str, np.ndarray] = {
        "W": rows & np.uint8(0x3F),
        "t": generator.standard_normal(CHANNELS) if threshold else np.zeros(CHANNELS),
        "s": generator.standard_normal(FILTERS),
        "c": generator.standard_normal(FILTERS),
        **(constants or {}),
    }
    inputs = ["a" if before else "x", "W", "t", "s", "c"]
    end = "b" if after else "y"
    node = (
        binary_conv.node(inputs, end, kernel_shape=(3, 3), channels=CHANNELS, pads=(1, 1, 1, 1), name="binary")
        if conv
        else binary_dense.node(inputs, end, features=CHANNELS, name="binary")
    )
    shape = shape or ((2, CHANNELS, 4, 3) if conv else (3, CHANNELS))
    graph = helper.make_graph(
        [*before, node, *after],
        "fold",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * len(shape)) for name in outputs],
        [
            numpy_helper.from_array(value if name == "W" else np.asarray(value, np.float32), name)
            for name, value in values.items()
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    attach_functions(model)
    return onnx.shape_inference.infer_shapes(model)


def folded(model: onnx.ModelProto) -> tuple[list[str], float]:
    """Operators after folding, and the largest difference of any output, relative to the largest value."""
    shape = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
    x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    before = run_onnx(model, {"x": x})
    fold_binary(model)
    onnx.checker.check_model(model, full_check=True)
    after = run_onnx(model, {"x": x})
    difference = max(float(np.abs(after[name] - before[name]).max() / np.abs(before[name]).max()) for name in before)
    return [node.op_type for node in model.graph.node], difference


def norm(width: int = FILTERS, **attributes: Any) -> tuple[list[onnx.NodeProto], dict[str, np.ndarray]]:
    generator = np.random.default_rng(2)
    names = ["gamma", "beta", "mean", "variance"]
    node = helper.make_node("BatchNormalization", ["b", *names], ["y"], name="norm", **attributes)
    arrays = {name: generator.uniform(-2, 2, width) for name in names} | {"variance": generator.uniform(0.1, 2, width)}
    return [node], arrays


@pytest.mark.parametrize("layer", ["conv", "dense"])
@pytest.mark.parametrize("attributes", [{}, {"epsilon": 0.5}])
def test_a_batch_norm_goes_into_scale_and_bias(layer: str, attributes: dict[str, Any]) -> None:
    after, arrays = norm(**attributes)
    kinds, difference = folded(model_of(layer, after=after, constants=arrays))
    assert len(kinds) == 1
    assert difference < 1e-5


@pytest.mark.parametrize("layer", ["conv", "dense"])
@pytest.mark.parametrize("kind", ["Mul", "Div", "Add", "Sub"])
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("every", [True, False])
def test_arithmetic_with_a_constant_goes_into_scale_and_bias(layer: str, kind: str, first: bool, every: bool) -> None:
    value = np.random.default_rng(3).uniform(0.5, 2, FILTERS)
    constant = value[:1].reshape(()) if every else value.reshape((FILTERS, 1, 1) if layer == "conv" else -1)
    after = [helper.make_node(kind, ["b", "k"] if first else ["k", "b"], ["y"])]
    kinds, difference = folded(model_of(layer, after=after, constants={"k": constant}))
    assert len(kinds) == (2 if kind == "Div" and not first else 1)
    assert difference < 1e-5


def test_a_chain_goes_in_whole() -> None:
    after = [
        helper.make_node("Mul", ["b", "k"], ["c1"]),
        helper.make_node("Neg", ["c1"], ["c2"]),
        helper.make_node("Add", ["m", "c2"], ["y"]),
    ]
    constants = {"k": np.arange(1, FILTERS + 1).reshape(1, FILTERS, 1, 1), "m": np.array(0.3)}
    kinds, difference = folded(model_of("conv", after=after, constants=constants))
    assert kinds == ["BinaryConv"]
    assert difference < 1e-5


@pytest.mark.parametrize(
    ("layer", "constant"),
    [
        ("conv", np.ones(3)),  # along the width
        ("conv", np.ones((4, 1))),  # along the height
        ("conv", np.ones((2, 1, 1, 1))),  # along the batch
        ("conv", np.full((FILTERS, 1, 1), np.inf)),
        ("dense", np.ones((3, 1))),
        ("dense", np.ones((3, FILTERS))),
        ("dense", np.ones((1, 1, FILTERS))),  # gives the output another axis
    ],
)
def test_constants_of_another_form_stay(layer: str, constant: np.ndarray) -> None:
    after = [helper.make_node("Add", ["b", "k"], ["y"])]
    model = model_of(layer, after=after, constants={"k": constant})
    fold_binary(model)
    assert [node.op_type for node in model.graph.node][1:] == ["Add"]


def test_a_value_that_others_read_stays() -> None:
    after = [helper.make_node("Mul", ["b", "k"], ["c1"]), helper.make_node("Add", ["c1", "b"], ["y"])]
    kinds, _ = folded(model_of("conv", after=after, constants={"k": np.array(2.0)}))
    assert kinds == ["BinaryConv", "Mul", "Add"]
    after = [helper.make_node("Mul", ["b", "k"], ["y"])]
    kinds, _ = folded(model_of("conv", after=after, constants={"k": np.array(2.0)}, outputs=("y", "b")))
    assert kinds == ["BinaryConv", "Mul"]


def test_a_batch_norm_of_another_axis_stays() -> None:
    after, arrays = norm(4)
    model = model_of("dense", after=after, constants=arrays, shape=(3, 4, CHANNELS))
    fold_binary(model)
    assert len(model.graph.node) == 2


@pytest.mark.parametrize("layer", ["conv", "dense"])
@pytest.mark.parametrize("kind", ["Sub", "Add", "Add turned"])
def test_a_constant_before_the_signs_becomes_their_threshold_exactly(layer: str, kind: str) -> None:
    generator = np.random.default_rng(4)
    shift = generator.standard_normal(CHANNELS).astype(np.float32)
    inputs = ["k", "x"] if kind == "Add turned" else ["x", "k"]
    before = [helper.make_node(kind.split()[0], inputs, ["a"])]
    constant = shift.reshape((CHANNELS, 1, 1) if layer == "conv" else -1)
    model = model_of(layer, before=before, constants={"k": constant})
    # Values at, just below and just above what they are compared with, where rounding would show.
    at = shift if kind == "Sub" else -shift
    near = np.stack([np.nextafter(at, np.float32(-9)), at, np.nextafter(at, np.float32(9))])
    x = np.broadcast_to(near[:, :, None, None], (3, CHANNELS, 4, 3))[:2] if layer == "conv" else near
    x = np.ascontiguousarray(x)
    (expected,) = run_onnx(model, {"x": x}).values()
    fold_binary(model)
    assert [node.op_type for node in model.graph.node] == ["BinaryConv" if layer == "conv" else "BinaryDense"]
    (found,) = run_onnx(model, {"x": x}).values()
    assert np.array_equal(found, expected)


@pytest.mark.parametrize(
    ("kind", "inputs", "constant", "options"),
    [
        ("Sub", ["k", "x"], np.ones((CHANNELS, 1, 1)), {}),  # turns the signs
        ("Sub", ["x", "k"], np.ones((CHANNELS, 1, 1)), {"threshold": True}),  # would round
        ("Sub", ["x", "k"], np.ones((4, 3)), {}),
        ("Sub", ["x", "k"], np.ones((CHANNELS, 1, 1)), {"shape": (2, 1, 4, 3)}),  # widens the value
        ("Mul", ["x", "k"], np.ones((CHANNELS, 1, 1)), {}),
    ],
)
def test_what_does_not_only_shift_stays(
    kind: str, inputs: list[str], constant: np.ndarray, options: dict[str, Any]
) -> None:
    model = model_of("conv", before=[helper.make_node(kind, inputs, ["a"])], constants={"k": constant}, **options)
    kinds, difference = folded(model)
    assert kinds == [kind, "BinaryConv"]
    assert difference == 0


def test_a_shift_that_others_read_stays_for_them() -> None:
    before = [helper.make_node("Sub", ["x", "k"], ["a"])]
    constants = {"k": np.ones((CHANNELS, 1, 1))}
    model = model_of("conv", before=before, constants=constants, outputs=("y", "a"))
    kinds, difference = folded(model)
    assert kinds == ["Sub", "BinaryConv"]
    assert model.graph.node[1].input[0] == "a"
    assert difference == 0


def test_a_constant_between_two_binary_layers_goes_into_the_first() -> None:
    constants: dict[str, np.ndarray] = {
        "k": np.ones((FILTERS, 1, 1)),
        "W2": np.ones((FILTERS, 6), np.float32),
        "t2": np.zeros(FILTERS),
    }
    second = ["c1", "W2", "t2", "s", "c"]
    after = [
        helper.make_node("Add", ["b", "k"], ["c1"]),
        binary_conv.node(second, "y", kernel_shape=(3, 3), channels=FILTERS, pads=(1, 1, 1, 1)),
    ]
    model = model_of("conv", after=after, constants=constants)
    weights = next(tensor for tensor in model.graph.initializer if tensor.name == "W2")
    weights.CopyFrom(numpy_helper.from_array(np.full((FILTERS, 6), 0x15, np.uint8), "W2"))
    model = onnx.shape_inference.infer_shapes(model)
    kinds, difference = folded(model)
    assert kinds == ["BinaryConv", "BinaryConv"]
    assert difference < 1e-5


@pytest.mark.torch
def test_cleaning_folds_and_drops_the_constants_and_still_knows_the_shapes_after() -> None:
    after, arrays = norm()
    after[0].output[0] = "n"
    pool = helper.make_node("ReduceMean", ["n", "axes"], ["y"], keepdims=1)
    constants: dict[str, np.ndarray] = {**arrays, "axes": np.array([2, 3])}
    model = model_of("conv", after=[*after, pool], constants=constants)
    axes = next(tensor for tensor in model.graph.initializer if tensor.name == "axes")
    axes.CopyFrom(numpy_helper.from_array(np.array([2, 3], np.int64), "axes"))
    cleaned = clean(onnx.shape_inference.infer_shapes(model))
    assert [node.op_type for node in cleaned.graph.node] == ["BinaryConv", "GlobalAveragePool"]
    assert len(cleaned.graph.initializer) == 4
    assert [function.name for function in cleaned.functions] == ["BinaryConv"]
