"""Concatenations of packed values agree with onnxruntime for channel counts that fill no vector."""

from __future__ import annotations

import pytest

from tests.compiler.lowering.net import Net, agrees

pytestmark = pytest.mark.tvm


@pytest.mark.parametrize("channels", [(16, 32), (5, 7), (16, 3, 16), (1, 1, 1), (33, 2, 30), (19,)])
def test_channels_of_several_convolutions_agree(channels: tuple[int, ...]) -> None:
    net = Net()
    image = net.input("n", 6, 5, 5)
    parts = [net.op("Relu", net.conv(image, (count, 6, 1, 1))) for count in channels]
    whole = net.op("Concat", *parts, axis=1)
    net.output(whole, net.conv(whole, (4, sum(channels), 3, 3)))
    agrees(net)


def test_an_input_beside_a_convolution_agrees() -> None:
    net = Net()
    image = net.input("n", 6, 5, 5)
    net.output(net.op("Relu", net.op("Concat", image, net.conv(image, (7, 6, 1, 1)), image, axis=-3)))
    agrees(net)


def test_a_constant_beside_a_convolution_agrees() -> None:
    net = Net()
    net.output(net.op("Concat", net.conv(net.input(2, 6, 5, 5), (7, 6, 1, 1)), net.normal(2, 3, 5, 5), axis=1))
    agrees(net)


@pytest.mark.parametrize("axis", [0, 2, 3])
def test_other_axes_agree(axis: int) -> None:
    net = Net()
    image = net.input(2, 6, 5, 5)
    net.output(
        net.op("Concat", net.conv(image, (7, 6, 1, 1)), net.op("Relu", net.conv(image, (7, 6, 1, 1))), axis=axis)
    )
    agrees(net)


def test_rows_of_dense_layers_agree() -> None:
    net = Net()
    row = net.input("n", 12)
    parts = [net.op("MatMul", row, net.normal(12, count)) for count in (5, 16, 9)]
    net.output(net.op("Gemm", net.op("Concat", *parts, axis=1), net.normal(30, 8)))
    agrees(net)


def test_dense_blocks_agree() -> None:
    net = Net()
    value, channels = net.input("n", 6, 6, 6), 6
    for _ in range(3):
        inner = net.conv(net.op("Relu", net.batch_norm(value, channels)), (5, channels, 3, 3), pads=[1] * 4)
        value, channels = net.op("Concat", value, inner, axis=1), channels + 5
    net.output(net.op("Relu", value))
    agrees(net)


def test_shuffled_channels_agree() -> None:
    net = Net()
    value = net.conv(net.input("n", 12, 6, 6), (24, 4, 1, 1), group=3)
    value = net.op("Reshape", value, net.constant([0, 3, 8, 6, 6], "int64"))
    value = net.op("Transpose", value, perm=[0, 2, 1, 3, 4])
    value = net.op("Reshape", value, net.constant([0, 24, 6, 6], "int64"))
    net.output(net.conv(value, (24, 1, 3, 3), group=24, pads=[1] * 4))
    agrees(net)


def test_halves_that_are_split_and_joined_agree() -> None:
    net = Net()
    value = net.op("Relu", net.conv(net.input("n", 6, 6, 6), (20, 6, 1, 1)))
    left, right = net.ops("Split", value, net.constant([8, 12], "int64"), outputs=2, axis=1)
    net.output(net.op("Concat", net.conv(left, (8, 8, 1, 1)), right, left, axis=1))
    agrees(net)
