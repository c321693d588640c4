from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeml.export.binary_layers import use_binary_operators
from edgeml.export.clean import clean
from edgeml.export.run_onnx import run_onnx
from edgeml.ops.attach import attach_functions, inline_functions
from tests.ops.cases import BinaryCase, binary_model, random_conv, random_dense

Arrays = dict[str, np.ndarray]


def signs_of(source: str, output: str, *, threshold: str = "threshold", scale: str = "scale") -> list[onnx.NodeProto]:
    return [
        helper.make_node("Less", [source, threshold], [f"{output}_negative"]),
        helper.make_node("Where", [f"{output}_negative", f"minus_{scale}", scale], [output]),
    ]


def model_of(nodes: list[onnx.NodeProto], constants: Arrays, shape: list[int], rank: int) -> onnx.ModelProto:
    constants = {"minus_scale": -constants["scale"], **constants}
    graph = helper.make_graph(
        nodes,
        "signs",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * rank)],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def conv_model(change: Callable[[Arrays], None] = lambda _: None, **attributes: Any) -> onnx.ModelProto:
    generator = np.random.default_rng(0)
    group = attributes.get("group", 1)
    constants: Arrays = {
        "threshold": generator.standard_normal((1, 6, 1, 1)),
        "scale": np.array(0.5),
        "w": generator.choice([-1.0, 1.0], (8, 6 // group, 3, 2)) * generator.uniform(0.1, 2, (8, 1, 1, 1)),
        "b": generator.standard_normal(8),
    }
    change(constants)
    nodes = [*signs_of("x", "s"), helper.make_node("Conv", ["s", "w", "b"], ["y"], name="conv", **attributes)]
    return model_of(nodes, constants, [2, 6, 7, 9], 4)


def converted(model: onnx.ModelProto) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Operators after the pass, and the output before and after it."""
    shape = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
    x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    (before,) = run_onnx(model, {"x": x}).values()
    result = onnx.ModelProto()
    result.CopyFrom(model)
    result = use_binary_operators(result)
    attach_functions(result)
    (after,) = run_onnx(result, {"x": x}).values()
    return [node.op_type for node in result.graph.node], before, after


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"group": 2, "pads": [1, 0, 2, 1], "strides": [2, 1], "dilations": [1, 2]},
        {"auto_pad": "VALID", "kernel_shape": [3, 2]},
    ],
)
def test_a_convolution_of_signs_becomes_binary_with_its_thresholds_scales_and_bias(attributes: dict[str, Any]) -> None:
    kinds, before, after = converted(conv_model(**attributes))
    assert kinds[-1] == "BinaryConv"
    assert np.abs(after - before).max() <= 1e-5 * np.abs(before).max()


def _another_magnitude(constants: Arrays) -> None:
    constants["w"][0, 0, 0, 0] = 0.3


def _a_zero(constants: Arrays) -> None:
    constants["w"][0, 0, 0, 0] = 0


def _no_number(constants: Arrays) -> None:
    constants["w"][0] = np.nan


def _uneven_signs(constants: Arrays) -> None:
    constants["minus_scale"] = np.array(-0.4)


def _a_threshold_by_column(constants: Arrays) -> None:
    constants["threshold"] = np.zeros(9)


def _a_threshold_by_row(constants: Arrays) -> None:
    constants["threshold"] = np.zeros((7, 1))


@pytest.mark.parametrize(
    "spoil",
    [_another_magnitude, _a_zero, _no_number, _uneven_signs, _a_threshold_by_column, _a_threshold_by_row],
)
def test_what_is_not_a_product_of_signs_stays(spoil: Callable[[Arrays], None]) -> None:
    kinds, before, after = converted(conv_model(spoil))
    assert kinds[-1] == "Conv"
    assert np.array_equal(before, after, equal_nan=True)


def test_automatic_pads_stay() -> None:
    kinds, _, _ = converted(conv_model(auto_pad="SAME_UPPER"))
    assert kinds[-1] == "Conv"


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (helper.make_node("MatMul", ["s", "w"], ["y"]), [3, 2, 12]),
        (helper.make_node("MatMul", ["s", "w"], ["y"]), [12]),
        (helper.make_node("Gemm", ["s", "w", "b"], ["y"], alpha=0.5, beta=2.0), [3, 12]),
        (helper.make_node("Gemm", ["s", "wt", "row"], ["y"], transB=1), [3, 12]),
    ],
)
def test_matrix_products_of_signs_become_binary(layer: onnx.NodeProto, shape: list[int]) -> None:
    generator = np.random.default_rng(2)
    weights = generator.choice([-1.0, 1.0], (12, 5)) * generator.uniform(0.1, 2, 5)
    constants = {
        "threshold": generator.standard_normal(12), "scale": np.array(-0.5), "w": weights, "wt": weights.T,
        "b": generator.standard_normal(5), "row": generator.standard_normal((1, 5)),
    }  # fmt: skip
    kinds, before, after = converted(model_of([*signs_of("x", "s"), layer], constants, shape, len(shape)))
    assert kinds[-1] == "BinaryDense"
    assert np.abs(after - before).max() <= 1e-5 * np.abs(before).max()


@pytest.mark.parametrize(
    ("product", "constant"),
    [("transA", None), ("left", None), ("bias by row", np.ones((3, 1))), ("bias by row", np.ones((3, 5)))],
)
def test_products_of_another_form_stay(product: str, constant: np.ndarray | None) -> None:
    weights = np.ones((3, 5))
    node = {
        "transA": helper.make_node("Gemm", ["s", "w"], ["y"], transA=1),
        "left": helper.make_node("MatMul", ["wt", "s"], ["y"]),
        "bias by row": helper.make_node("Gemm", ["s", "w", "b"], ["y"]),
    }[product]
    constants = {"threshold": np.array(0.0), "scale": np.array(1.0), "w": weights, "wt": weights.T}
    if constant is not None:
        constants["b"] = constant
    kinds, _, _ = converted(model_of([*signs_of("x", "s"), node], constants, [3, 3], 2))
    assert "BinaryDense" not in kinds


@pytest.mark.torch
@pytest.mark.parametrize("make", [random_conv, random_dense])
def test_an_inlined_body_becomes_its_operator_again(make: Callable[[np.random.Generator], BinaryCase]) -> None:
    case = make(np.random.default_rng(4))
    model = binary_model(case)
    again = clean(inline_functions(model))
    (node,) = again.graph.node
    assert node.op_type == model.graph.node[0].op_type
    found, expected = (run_onnx(each, {"x": case.x})["y"] for each in (again, model))
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()
