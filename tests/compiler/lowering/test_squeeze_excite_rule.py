"""Squeeze-and-excitation agrees with onnxruntime however it is written and whoever reads its product."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.compiler.lowering.net import Net, Value, agrees

pytestmark = pytest.mark.tvm

CHANNELS, REDUCED = 24, 6


def features(net: Net, *, depthwise: bool = True) -> Value:
    value = net.conv(net.input("n", 5, 9, 9), (CHANNELS, 5, 3, 3), pads=[1] * 4, strides=[2, 2])
    value = net.op("Relu", value)
    if not depthwise:
        return value
    value = net.conv(value, (CHANNELS, 1, 3, 3), group=CHANNELS, pads=[1] * 4)
    return net.op("Mul", value, net.op("Sigmoid", value))


def by_convolutions(net: Net, value: Value, *, first: str = "Relu", second: str = "Sigmoid") -> Value:
    pooled = net.op("GlobalAveragePool", value)
    inner = net.conv(pooled, (REDUCED, CHANNELS, 1, 1))
    inner = net.op("Mul", inner, net.op("Sigmoid", inner)) if first == "SiLU" else net.op(first, inner)
    return net.op(second, net.conv(inner, (CHANNELS, REDUCED, 1, 1)))


def by_dense_layers(net: Net, value: Value) -> Value:
    pooled = net.op("Flatten", net.op("GlobalAveragePool", value))
    inner = net.op("Relu", net.op("Gemm", pooled, net.weights(REDUCED, CHANNELS), net.normal(REDUCED), transB=1))
    outer = net.op("Gemm", inner, net.normal(REDUCED, CHANNELS), net.normal(CHANNELS))
    shape = net.constant([0, CHANNELS, 1, 1], "int64")
    return net.op("Reshape", net.op("HardSigmoid", outer), shape)


def by_means(net: Net, value: Value) -> Value:
    pooled = net.op("ReduceMean", value, net.constant([2, 3], "int64"), keepdims=0)
    inner = net.op("Relu", net.op("MatMul", pooled, net.normal(CHANNELS, REDUCED)))
    outer = net.op(
        "Sigmoid", net.op("Add", net.op("MatMul", inner, net.normal(REDUCED, CHANNELS)), net.normal(CHANNELS))
    )
    return net.op("Unsqueeze", outer, net.constant([2, 3], "int64"))


WAYS: dict[str, Callable[[Net, Value], Value]] = {
    "convolutions": by_convolutions,
    "dense layers": by_dense_layers,
    "means": by_means,
}


@pytest.mark.parametrize("depthwise", [True, False])
@pytest.mark.parametrize("way", WAYS)
def test_a_gate_read_by_a_1x1_convolution_agrees(way: str, depthwise: bool) -> None:
    net = Net()
    value = features(net, depthwise=depthwise)
    product = net.op("Mul", value, WAYS[way](net, value))
    net.output(net.op("Relu", net.conv(product, (10, CHANNELS, 1, 1))))
    compiled = agrees(net)
    if way == "convolutions":
        assert compiled.kernels.count("squeeze_excite") == 2


def test_a_gate_read_by_a_3x3_convolution_agrees() -> None:
    net = Net()
    value = features(net)
    net.output(net.conv(net.op("Mul", by_convolutions(net, value), value), (10, CHANNELS, 3, 3), pads=[1] * 4))
    agrees(net)


def test_a_gate_read_by_a_1x1_convolution_with_stride_agrees() -> None:
    net = Net()
    value = features(net)
    product = net.op("Mul", value, by_convolutions(net, value))
    net.output(net.conv(product, (10, CHANNELS, 1, 1), strides=[2, 2]))
    agrees(net)


def test_a_gate_read_by_a_grouped_1x1_convolution_agrees() -> None:
    net = Net()
    value = features(net)
    product = net.op("Mul", value, by_convolutions(net, value))
    net.output(net.conv(product, (12, CHANNELS // 2, 1, 1), group=2))
    agrees(net)


def test_a_product_with_two_readers_agrees() -> None:
    net = Net()
    value = features(net)
    product = net.op("Mul", value, by_convolutions(net, value))
    net.output(net.op("Add", net.conv(product, (CHANNELS, CHANNELS, 1, 1)), product))
    agrees(net)


def test_a_product_that_is_an_output_agrees() -> None:
    net = Net()
    value = features(net)
    product = net.op("Mul", value, by_convolutions(net, value))
    net.output(product, net.conv(product, (10, CHANNELS, 1, 1)))
    agrees(net)


def test_a_gate_and_a_mean_that_others_read_agree() -> None:
    net = Net()
    value = features(net)
    gate = by_convolutions(net, value)
    pooled = net.op("GlobalAveragePool", value)
    net.output(net.conv(net.op("Mul", value, gate), (10, CHANNELS, 1, 1)), gate, net.op("Flatten", pooled))
    agrees(net)


def test_two_convolutions_behind_one_gate_agree() -> None:
    net = Net()
    value = features(net)
    gate = by_convolutions(net, value)
    other = net.op("Tanh", value)
    net.output(net.conv(net.op("Mul", value, gate), (10, CHANNELS, 1, 1)))
    net.output(net.conv(net.op("Mul", gate, other), (10, CHANNELS, 1, 1)))
    agrees(net)


def test_a_gated_value_with_what_follows_agrees() -> None:
    net = Net()
    value = features(net)
    net.output(net.op("Relu", net.op("Add", net.op("Mul", value, by_convolutions(net, value)), net.op("Tanh", value))))
    agrees(net)


def test_every_pair_of_activations_agrees() -> None:
    net = Net()
    value = features(net, depthwise=False)
    for first in ("Relu", "SiLU", "HardSwish", "LeakyRelu"):
        for second in ("Sigmoid", "HardSigmoid", "Relu", "Identity"):
            net.output(by_convolutions(net, value, first=first, second=second))
    agrees(net)


def test_layers_with_arithmetic_between_them_agree() -> None:
    net = Net()
    pooled = net.op("GlobalAveragePool", features(net))
    inner = net.op("Relu", net.batch_norm(net.conv(pooled, (REDUCED, CHANNELS, 1, 1), bias=False), REDUCED))
    inner = net.op("Mul", inner, net.normal(REDUCED, 1, 1))
    outer = net.op("Mul", net.conv(inner, (CHANNELS, REDUCED, 1, 1)), net.constant(0.5, "float32"))
    net.output(net.op("Sigmoid", outer))
    agrees(net)


def test_layers_whose_middle_is_read_by_others_agree() -> None:
    net = Net()
    pooled = net.op("GlobalAveragePool", features(net))
    inner = net.op("Relu", net.conv(pooled, (REDUCED, CHANNELS, 1, 1)))
    net.output(inner, net.op("Sigmoid", net.conv(inner, (CHANNELS, REDUCED, 1, 1))))
    agrees(net)


def test_layers_that_end_with_a_tensor_added_agree() -> None:
    net = Net()
    pooled = net.op("GlobalAveragePool", features(net))
    inner = net.op("Relu", net.conv(pooled, (REDUCED, CHANNELS, 1, 1)))
    net.output(net.op("Relu", net.op("Add", net.conv(inner, (CHANNELS, REDUCED, 1, 1)), pooled)))
    agrees(net)


def test_channel_attention_of_pooled_and_largest_values_agrees() -> None:
    net = Net()
    value = features(net)
    first, second = net.weights(REDUCED, CHANNELS, 1, 1), net.weights(CHANNELS, REDUCED, 1, 1)
    branches = []
    for pool in ("GlobalAveragePool", "GlobalMaxPool"):
        inner = net.op("Relu", net.op("Conv", net.op(pool, value), first))
        branches.append(net.op("Conv", inner, second))
    net.output(net.op("Mul", value, net.op("Sigmoid", net.op("Add", *branches))))
    agrees(net)
