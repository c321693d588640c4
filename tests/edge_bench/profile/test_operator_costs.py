"""Multiply-accumulates are as many as the operator's definition makes products."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from edgeml.edge_bench.profile.operator_costs import macs
from edgeml.edge_bench.profile.trace import Tensor
from edgeml.runtime.onnxruntime_loading import import_onnxruntime


def tensors(*shapes: tuple[int, ...], dtype: str = "float32") -> list[Tensor]:
    return [Tensor(dtype, shape) for shape in shapes]


@pytest.mark.parametrize(
    ("operator", "shapes", "attributes"),
    [
        ("Conv", [(2, 8, 9, 7), (12, 8, 3, 3)], {"strides": [2, 2]}),
        ("Conv", [(1, 8, 6, 6), (8, 1, 5, 5)], {"group": 8}),
        ("Conv", [(3, 8, 5, 5), (6, 4, 1, 3)], {"group": 2, "dilations": [1, 2]}),
        ("Conv", [(2, 4, 11), (6, 4, 3)], {}),
        ("ConvTranspose", [(2, 6, 5, 5), (6, 4, 4, 4)], {"strides": [2, 2]}),
        ("ConvTranspose", [(2, 6, 5, 5), (6, 2, 3, 3)], {"group": 2}),
        ("Gemm", [(3, 20), (20, 7)], {}),
        ("Gemm", [(20, 3), (7, 20)], {"transA": 1, "transB": 1}),
        ("MatMul", [(2, 5, 20), (20, 7)], {}),
        ("MatMul", [(2, 5, 20), (2, 20, 7)], {}),
        ("MatMul", [(20,), (20, 7)], {}),
    ],
)
def test_the_count_is_that_of_the_products_in_the_result(
    operator: str, shapes: list[tuple[int, ...]], attributes: dict[str, Any]
) -> None:
    """Of ones only every product adds 1 to the result, whoever computes it."""
    names = [f"input{index}" for index in range(len(shapes))]
    graph = helper.make_graph(
        [helper.make_node(operator, names, ["output"], **attributes)],
        "one node",
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            for name, shape in zip(names, shapes, strict=True)
        ],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    feeds = {name: np.ones(shape, np.float32) for name, shape in zip(names, shapes, strict=True)}
    (output,) = import_onnxruntime().InferenceSession(model.SerializeToString()).run(None, feeds)
    assert macs(operator, tensors(*shapes), tensors(output.shape)) == output.sum()


def test_quantized_and_plain_operators_count_alike() -> None:
    scalar: tuple[int, ...] = ()
    plain = tensors((1, 8, 4, 4), (6, 8, 3, 3))
    quantized = tensors((1, 8, 4, 4), scalar, scalar, (6, 8, 3, 3))
    output = tensors((1, 6, 4, 4))
    assert macs("QLinearConv", quantized, output) == macs("Conv", plain, output) == 6 * 16 * 8 * 9
    assert macs("QGemm", tensors((3, 20)), tensors((3, 7))) == 3 * 20 * 7


def test_a_transposed_factor_is_noticed() -> None:
    assert macs("FusedMatMul", tensors((5, 3), (5, 7)), tensors((3, 7))) == 3 * 5 * 7
    assert macs("Gemm", tensors((5, 3), (5, 7)), tensors((3, 7))) == 3 * 5 * 7


def test_recurrences_multiply_by_both_weights_at_every_step() -> None:
    steps, batch, features, hidden = 7, 2, 5, 4
    inputs = tensors((steps, batch, features), (1, 4 * hidden, features), (1, 4 * hidden, hidden))
    assert macs("LSTM", inputs, tensors((steps, 1, batch, hidden))) == steps * batch * 16 * 9


@pytest.mark.parametrize(
    ("operator", "outputs"),
    [
        ("BinaryConv", [(2, 16, 5, 5)]),
        ("PackedBinaryConv", [(2, 5, 5, 1)]),
        ("PackedBinaryConvSum", [(2, 5, 5, 16), (0,)]),
        ("PackedBinaryConvSum", [(0,), (2, 5, 5, 1)]),
    ],
)
def test_binary_layers_count_bits(operator: str, outputs: list[tuple[int, ...]]) -> None:
    # 8 channels, 3 x 3: 72 bits a filter, 9 bytes.
    assert macs(operator, tensors((2, 8, 5, 5), (16, 9)), tensors(*outputs)) == 2 * 25 * 16 * 72


@pytest.mark.parametrize(
    ("operator", "inputs"),
    [
        ("Relu", [(1, 4)]),
        ("QLinearConv", [(1, 7, 7, 336), (), (), (56,)]),  # its weights are kept elsewhere
        ("Conv", [(1, 3, 8, 8)]),
        ("LSTM", [(1,)]),
        ("BinaryConv", [(1,)]),
    ],
)
def test_what_shapes_do_not_tell_is_unknown(operator: str, inputs: list[tuple[int, ...]]) -> None:
    assert macs(operator, tensors(*inputs), tensors((1, 4))) is None
