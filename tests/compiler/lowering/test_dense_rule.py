"""Dense layers agree with onnxruntime, with what precedes and follows them."""

from __future__ import annotations

import numpy as np
import pytest

from tests.compiler.lowering.net import Compiled, Net, agrees, agrees_on, feeds_of

pytestmark = pytest.mark.tvm


def test_every_way_to_write_a_dense_layer_agrees() -> None:
    net = Net()
    row = net.input("n", 20)
    plain, transposed, bias = net.normal(20, 7), net.normal(7, 20), net.normal(7)
    net.output(net.op("MatMul", row, plain), net.op("Relu", net.op("Add", bias, net.op("MatMul", row, plain))))
    net.output(net.op("Gemm", row, plain, bias), net.op("Gemm", row, transposed, bias, transB=1))
    net.output(net.op("Gemm", row, plain, bias, alpha=0.5, beta=2.0), net.op("Gemm", row, plain))
    net.output(net.op("Gemm", row, plain, net.normal(1, 7)), net.op("Gemm", row, plain, net.constant([2], "float32")))
    net.output(net.op("Softmax", net.op("Gemm", row, transposed, transB=1), axis=1))
    net.output(net.op("Mul", net.op("Tanh", net.op("MatMul", row, plain)), bias))
    compiled = agrees(net)
    assert set(compiled.kernels) == {"dense"}


@pytest.mark.parametrize("width", [1, 15, 16, 17, 100, 1000])
def test_layers_of_every_width_agree(width: int) -> None:
    net = Net()
    row = net.op("Relu", net.op("Gemm", net.input("n", 18), net.normal(18, width), net.normal(width)))
    net.output(net.op("LogSoftmax", row), net.op("Softmax", net.op("Gemm", row, net.weights(9, width), transB=1)))
    agrees(net)


def test_a_batch_that_runs_into_vectors_agrees() -> None:
    net = Net()
    net.output(net.op("Gemm", net.input("n", 33), net.normal(33, 20), net.normal(20)))
    compiled = Compiled.of(net.model())
    for batch in (1, 2, 7, 64):
        agrees_on(compiled, feeds_of(compiled.model, n=batch))


def test_a_residual_of_two_dense_layers_agrees() -> None:
    net = Net()
    row = net.input("n", 20)
    inner = net.op("Relu", net.op("Gemm", row, net.weights(20, 20)))
    net.output(net.op("Add", row, net.op("Gemm", inner, net.weights(20, 20))))
    agrees(net)


def test_products_that_are_no_dense_layer_agree() -> None:
    net = Net()
    row, matrix, cube = net.input(3, 20), net.input(20, 5), net.input("n", 4, 20)
    weights = net.normal(20, 6)
    net.output(net.op("MatMul", row, matrix), net.op("MatMul", cube, weights), net.op("MatMul", cube, matrix))
    net.output(net.op("MatMul", cube, net.op("Transpose", cube, perm=[0, 2, 1])))
    net.output(net.op("MatMul", net.normal(8, 3), row), net.op("Gemm", row, net.normal(3, 7), transA=1))
    net.output(net.op("MatMul", cube, net.normal(20)), net.op("MatMul", net.normal(4), cube))
    agrees(net)


def test_dense_layers_of_a_flattened_image_agree() -> None:
    net = Net()
    value = net.op("Relu", net.conv(net.input("n", 3, 6, 6), (5, 3, 3, 3)))
    flat, reshaped = net.op("Flatten", value), net.op("Reshape", value, net.constant([0, -1], "int64"))
    net.output(*(net.op("Gemm", each, net.weights(80, 9), net.normal(9)) for each in (flat, reshaped)))
    agrees(net)


def test_weights_of_zero_rows_agree() -> None:
    net = Net()
    weights = np.zeros((20, 7), np.float32)
    weights[3, 4] = 1
    net.output(net.op("MatMul", net.input("n", 20), net.constant(weights)))
    agrees(net)
