"""Arithmetic outside of convolutions, softmax and reshapes agree with onnxruntime."""

from __future__ import annotations

import pytest

from tests.compiler.lowering.net import Net, Value, agrees

pytestmark = pytest.mark.tvm


def read(net: Net, *, packed: bool, channels: int = 18) -> Value:
    image = net.input("n", channels, 6, 5)
    return net.op("MaxPool", net.conv(image, (channels, channels, 1, 1)), kernel_shape=[1, 1]) if packed else image


@pytest.mark.parametrize("packed", [True, False])
def test_functions_of_one_tensor_agree(packed: bool) -> None:
    net = Net(opset=20)
    value = read(net, packed=packed)
    for operator in ("Relu", "Sigmoid", "Tanh", "HardSwish", "HardSigmoid", "Gelu", "LeakyRelu", "Elu", "Mish"):
        net.output(net.op(operator, value))
    for operator in ("Abs", "Neg", "Exp", "Erf", "Floor", "Round", "Sin", "Softsign", "Selu", "Identity"):
        net.output(net.op(operator, value))
    net.output(net.op("Mul", value, net.op("Sigmoid", value)), net.op("Cast", value, to=1))
    net.output(net.batch_norm(value, 18), net.op("Relu", net.batch_norm(value, 18)))
    agrees(net)


@pytest.mark.parametrize("packed", [True, False])
def test_functions_of_two_tensors_agree(packed: bool) -> None:
    net = Net()
    left = read(net, packed=packed)
    right = net.op("Exp", net.input("n", 18, 6, 5))
    for operator in ("Add", "Sub", "Mul", "Div", "Max", "Min"):
        net.output(net.op(operator, left, right))
    net.output(net.op("Sub", right, left), net.op("Div", left, right), net.op("Pow", right, left))
    net.output(net.op("Relu", net.op("Sub", left, right)), net.op("Sum", left, right, left))
    net.output(net.op("Where", net.op("Greater", left, right), left, right))
    agrees(net)


@pytest.mark.parametrize("channels", [1, 10, 16, 50, 1000])
def test_softmax_of_rows_agrees(channels: int) -> None:
    net = Net()
    row = net.op("Mul", net.input("n", channels), net.constant(20, "float32"))
    net.output(net.op("Softmax", row), net.op("Softmax", row, axis=1), net.op("LogSoftmax", row))
    agrees(net)


def test_softmax_of_images_agrees() -> None:
    net = Net()
    value = net.conv(net.input("n", 6, 5, 4), (9, 6, 1, 1))
    net.output(*(net.op("Softmax", value, axis=axis) for axis in (1, 2, 3, -1)))
    agrees(net)


def test_softmax_over_the_batch_agrees() -> None:
    net = Net()
    net.output(net.op("Softmax", net.input(4, 9), axis=0))
    agrees(net)


def test_reshapes_before_and_after_packed_values_agree() -> None:
    net = Net()
    value = net.conv(net.input("n", 6, 5, 4), (18, 6, 1, 1))
    pooled = net.op("GlobalAveragePool", value)
    net.output(net.op("Flatten", value), net.op("Reshape", value, net.constant([0, 6, 3, 20], "int64")))
    net.output(net.op("Flatten", pooled), net.op("Squeeze", pooled, net.constant([2, 3], "int64")))
    net.output(net.op("Reshape", pooled, net.constant([-1, 18], "int64")))
    net.output(net.op("Reshape", pooled, net.constant([0, 3, 6, 1], "int64")), net.op("Flatten", pooled, axis=2))
    net.output(net.op("Unsqueeze", net.op("Flatten", pooled), net.constant([2, 3], "int64")))
    agrees(net)


def test_reshapes_of_inputs_agree() -> None:
    net = Net()
    row = net.input("n", 18)
    image = net.op("Reshape", row, net.constant([0, 0, 1, 1], "int64"))
    net.output(net.conv(image, (5, 18, 1, 1)), net.op("Identity", image), net.op("Relu", net.op("Flatten", image)))
    agrees(net)


def test_a_reshape_that_mixes_batch_and_channels_agrees() -> None:
    net = Net()
    pooled = net.op("GlobalAveragePool", net.conv(net.input(2, 6, 5, 4), (18, 6, 1, 1)))
    net.output(net.op("Relu", net.op("Reshape", pooled, net.constant([18, 2], "int64"))))
    net.output(net.op("Relu", net.op("Reshape", pooled, net.constant([4, 9, 1, 1], "int64"))))
    net.output(net.op("Reshape", pooled, net.constant([1, 36, 1, 1], "int64")))
    agrees(net)


def test_identities_and_dropout_are_left_out() -> None:
    net = Net()
    value = net.op("Identity", net.input("n", 6, 5, 4))
    value = net.op("Identity", net.conv(value, (18, 6, 1, 1)))
    value = net.op("Dropout", net.op("Relu", value))
    net.output(net.op("Identity", value))
    agrees(net)
