"""Quantized layers run on integers and give the codes that the file's arithmetic in float32 gives, to one quantum."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.compiler.lowering.net import Array, Compiled, Net, Value, by_onnxruntime, feeds_of

pytestmark = pytest.mark.tvm

Codes = str
_ZEROS = {"uint8": 117, "int8": -9}


class QuantizedNet(Net):
    """A net whose tensors are codes between its layers."""

    def __init__(self, dtype: str = "uint8", *, symmetric: bool = False) -> None:
        super().__init__()
        self.dtype = dtype
        zero = (128 if dtype == "uint8" else 0) if symmetric else _ZEROS[dtype]
        self.zero = self.constant(zero, dtype)

    def quantize(self, value: Value, scale: float = 0.04) -> Codes:
        return self.op("QuantizeLinear", value, self.constant(scale, "float32"), self.zero)

    def real(self, codes: Codes, scale: float = 0.04) -> Value:
        return self.op("DequantizeLinear", codes, self.constant(scale, "float32"), self.zero)

    def coded(self, value: Value, scale: float = 0.04) -> Value:
        return self.real(self.quantize(value, scale), scale)

    def coded_image(self, channels: int, size: int = 9) -> Value:
        return self.coded(self.input("n", channels, size, size))

    def coded_weights(
        self, *shape: int, by_channel: bool = True, axis: int = 0, zero: int = 0, dtype: str = "int8"
    ) -> Value:
        fan_in = np.prod(shape, dtype=np.int64) // shape[axis]
        codes = self.generator.integers(-127 if dtype == "int8" else 0, 128 if dtype == "int8" else 256, shape)
        scales = self.generator.uniform(0.5, 1.5, shape[axis] if by_channel else ()) / (75 * np.sqrt(fan_in))
        zeros = np.full(np.shape(scales), zero)
        attributes: dict[str, Any] = {"axis": axis} if by_channel else {}
        return self.op(
            "DequantizeLinear",
            self.constant(codes, dtype),
            self.constant(scales, "float32"),
            self.constant(zeros, dtype),
            **attributes,
        )

    def layer(self, value: Value, shape: tuple[int, ...], *, by_channel: bool = True, **attributes: Any) -> Value:
        """A convolution with coded weights and an int32 bias, before its output is coded."""
        bias = self.generator.integers(-4000, 4000, shape[0])
        scale = self.constant(2e-4, "float32")
        bias_value = self.op("DequantizeLinear", self.constant(bias, "int32"), scale, self.constant(0, "int32"))
        return self.op("Conv", value, self.coded_weights(*shape, by_channel=by_channel), bias_value, **attributes)

    def give(self, value: Value, scale: float = 0.04) -> None:
        """Make the codes of a value an output."""
        self.output(self.quantize(value, scale), dtype=self.dtype)


def gives_the_codes(net: Net, *, most: int = 1) -> Compiled:
    """Assert that codes differ by one quantum at the most, and seldom; float outputs by 1e-5."""
    model = net.model()
    compiled, feeds = Compiled.of(model), feeds_of(model)
    for found, expected in zip(compiled.run(feeds), by_onnxruntime(model, feeds), strict=True):
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        assert_near(found, expected, most)
    return compiled


def assert_near(found: Array, expected: Array, most: int) -> None:
    if expected.dtype.kind == "f":
        assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()
        return
    assert np.ptp(expected.astype(int)) > 20, "the reference is to be meaningful"
    gap = np.abs(found.astype(int) - expected.astype(int))
    assert gap.max() <= most, gap.max()
    assert (gap > 0).mean() <= 0.01, (gap > 0).mean()


def placed(compiled: Compiled) -> list[tuple[str, str]]:
    return [(operator.kernel, operator.precision) for operator in compiled.operators]


LAYERS: dict[str, tuple[int, tuple[int, int, int, int], str, dict[str, Any]]] = {
    "1x1": (20, (24, 20, 1, 1), "pointwise", {}),
    "1x1 with stride": (20, (24, 20, 1, 1), "convolution", {"strides": [2, 2]}),
    "1x1 of whole vectors": (64, (64, 64, 1, 1), "pointwise", {}),
    "1x1 of few channels": (3, (5, 3, 1, 1), "pointwise", {}),
    "depthwise": (20, (20, 1, 3, 3), "depthwise", {"group": 20, "pads": [1] * 4}),
    "depthwise with stride": (33, (33, 1, 5, 5), "depthwise", {"group": 33, "pads": [1, 2, 2, 1], "strides": [2, 2]}),
    "depthwise with dilation": (16, (16, 1, 3, 3), "depthwise", {"group": 16, "pads": [2] * 4, "dilations": [2, 2]}),
    "3x3": (20, (24, 20, 3, 3), "convolution", {"pads": [1] * 4}),
    "3x3 with uneven padding": (7, (9, 7, 3, 3), "convolution", {"pads": [0, 1, 2, 0], "strides": [2, 1]}),
    "3x3 with dilation": (7, (9, 7, 3, 3), "convolution", {"pads": [2] * 4, "dilations": [2, 2]}),
    "first layer": (3, (16, 3, 3, 3), "convolution", {"pads": [1] * 4, "strides": [2, 2]}),
    "groups": (24, (20, 6, 3, 3), "convolution", {"group": 4, "pads": [1] * 4}),
    "depth multiplier": (6, (18, 1, 3, 3), "convolution", {"group": 6, "pads": [1] * 4}),
}


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("name", LAYERS)
def test_every_kind_of_convolution_runs_on_codes(name: str, dtype: str) -> None:
    channels, shape, kernel, attributes = LAYERS[name]
    net = QuantizedNet(dtype)
    image = net.coded_image(channels)
    net.give(net.op("Relu", net.layer(image, shape, **attributes)))
    net.output(net.layer(image, shape, by_channel=False, **attributes))
    compiled = gives_the_codes(net)
    assert set(placed(compiled)) == {(kernel, "int8")}


FOLLOWS: dict[str, Callable[[QuantizedNet, Value], Value]] = {
    "SiLU": lambda net, value: net.op("Mul", value, net.op("Sigmoid", value)),
    "coded SiLU": lambda net, value: net.op(
        "Mul", net.coded(value), net.coded(net.op("Sigmoid", net.coded(value)), 0.005)
    ),
    "HardSwish": lambda net, value: net.op("HardSwish", value),
    "Clip": lambda net, value: net.op("Clip", value, net.constant(0, "float32"), net.constant(2, "float32")),
    "LeakyRelu": lambda net, value: net.op("LeakyRelu", value, alpha=0.1),
    "coded Relu": lambda net, value: net.op("Relu", net.coded(value)),
    "BatchNormalization": lambda net, value: net.batch_norm(value, 20),
    "a factor by channel": lambda net, value: net.op("Mul", net.op("Relu", value), net.normal(20, 1, 1)),
    "a float residual": lambda net, value: net.op("Add", value, net.input("n", 20, 9, 9)),
}


@pytest.mark.parametrize("follow", FOLLOWS)
def test_what_follows_a_quantized_convolution_gives_the_codes(follow: str) -> None:
    net = QuantizedNet()
    image = net.coded_image(20)
    net.give(FOLLOWS[follow](net, net.layer(image, (20, 20, 1, 1))))
    net.give(FOLLOWS[follow](net, net.layer(image, (20, 1, 3, 3), group=20, pads=[1] * 4)))
    compiled = gives_the_codes(net, most=2 if follow == "coded SiLU" else 1)
    assert {operator.precision for operator in compiled.operators} == {"int8"}


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_residuals_of_two_coded_tensors_give_the_codes(dtype: str) -> None:
    net = QuantizedNet(dtype)
    image = net.coded_image(20)
    left = net.layer(image, (20, 20, 1, 1))
    right = net.layer(image, (20, 1, 3, 3), group=20, pads=[1] * 4)
    net.give(net.op("Add", net.coded(left), net.coded(right, 0.0497)), 0.0613)
    net.give(net.op("Relu", net.op("Add", net.coded(left), image)), 0.0517)
    net.give(net.op("Mul", net.coded(left), net.coded(right, 0.0497)), 0.0613)
    gives_the_codes(net, most=2)


def test_residuals_with_one_coded_tensor_give_the_codes() -> None:
    net = QuantizedNet()
    image = net.coded_image(20)
    value = net.layer(image, (20, 20, 1, 1))
    net.give(net.op("Add", value, image), 0.05)
    net.output(net.op("Add", net.layer(image, (20, 20, 1, 1)), image))
    gives_the_codes(net)


def test_blocks_of_quantized_layers_stay_near() -> None:
    net = QuantizedNet()
    value = net.coded_image(8)
    for _ in range(3):
        inner = net.coded(net.op("Relu", net.layer(value, (24, 8, 1, 1))), 0.03)
        inner = net.coded(net.op("Relu", net.layer(inner, (24, 1, 3, 3), group=24, pads=[1] * 4)), 0.02)
        value = net.coded(net.op("Add", value, net.coded(net.layer(inner, (8, 24, 1, 1)))), 0.05)
    net.output(value)
    model = net.model()
    compiled, feeds = Compiled.of(model), feeds_of(model)
    found, expected = compiled.run(feeds)[0], by_onnxruntime(model, feeds)[0]
    assert np.sqrt(np.mean((found - expected) ** 2)) < 0.05 * np.std(expected)
    assert set(placed(compiled)) == {("pointwise", "int8"), ("depthwise", "int8")}


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_dense_layers_run_on_codes(dtype: str) -> None:
    net = QuantizedNet(dtype)
    row = net.coded(net.input("n", 37))
    bias = net.op("DequantizeLinear", net.constant([500] * 10, "int32"), net.constant(2e-4, "float32"))
    net.give(net.op("Gemm", row, net.coded_weights(10, 37), bias, transB=1), 0.02)
    net.give(net.op("Gemm", row, net.coded_weights(37, 10, axis=1), bias), 0.02)
    net.give(net.op("MatMul", row, net.coded_weights(37, 10, axis=1)), 0.02)
    net.give(
        net.op("Relu", net.op("Add", net.op("MatMul", row, net.coded_weights(37, 10, axis=1, by_channel=False)), bias)),
        0.01,
    )
    net.output(net.op("Softmax", net.op("MatMul", row, net.coded_weights(37, 10, axis=1))))
    compiled = gives_the_codes(net)
    assert set(placed(compiled)) == {("dense", "int8")}


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_pooling_and_concatenation_of_coded_tensors_give_the_codes(dtype: str) -> None:
    net = QuantizedNet(dtype)
    image = net.coded_image(20)
    value = net.coded(net.layer(image, (20, 20, 1, 1)))
    net.give(net.op("MaxPool", value, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4))
    net.give(net.op("AveragePool", value, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4), 0.02)
    net.give(net.op("GlobalAveragePool", value), 0.004)
    net.give(net.op("Concat", value, image, axis=1))
    net.give(net.op("Concat", value, net.coded(net.layer(image, (7, 20, 1, 1)), 0.03), axis=1))
    net.give(net.op("Flatten", value))
    gives_the_codes(net)


def test_pooling_on_the_codes_themselves_gives_the_codes() -> None:
    net = QuantizedNet()
    codes = net.quantize(net.layer(net.coded_image(20), (20, 20, 1, 1)))
    pooled = net.op("MaxPool", codes, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    net.give(net.layer(net.real(pooled), (9, 20, 1, 1)))
    net.output(pooled, dtype="uint8")
    gives_the_codes(net)


def test_codes_with_several_readers_are_written_once() -> None:
    net = QuantizedNet()
    codes = net.quantize(net.layer(net.coded_image(20), (20, 20, 1, 1)))
    net.give(net.layer(net.real(codes), (9, 20, 1, 1)))
    net.give(net.layer(net.real(codes), (20, 1, 3, 3), group=20))
    net.output(net.op("Tanh", net.real(codes)))
    net.output(codes, dtype="uint8")
    gives_the_codes(net)


def test_a_value_that_is_read_coded_and_plain_gives_the_codes() -> None:
    net = QuantizedNet()
    value = net.op("Relu", net.layer(net.coded_image(20), (20, 20, 1, 1)))
    net.give(net.layer(net.coded(value), (9, 20, 1, 1)))
    net.output(value)
    gives_the_codes(net)


def test_a_gate_between_coded_tensors_gives_the_codes() -> None:
    net = QuantizedNet()
    value = net.coded(net.layer(net.coded_image(20), (20, 1, 3, 3), group=20, pads=[1] * 4))
    inner = net.coded(
        net.op("Relu", net.layer(net.coded(net.op("GlobalAveragePool", value), 0.01), (6, 20, 1, 1))), 0.01
    )
    gate = net.coded(net.op("Sigmoid", net.layer(inner, (20, 6, 1, 1))), 0.005)
    net.give(net.layer(net.coded(net.op("Mul", value, gate)), (9, 20, 1, 1)))
    gives_the_codes(net, most=2)


def test_operators_without_kernels_between_codes_give_the_codes() -> None:
    net = QuantizedNet()
    value = net.coded(net.layer(net.coded_image(20), (20, 20, 1, 1)))
    scales = net.constant([1, 1, 2, 2], "float32")
    net.give(net.layer(net.coded(net.op("Resize", value, None, scales, mode="nearest")), (9, 20, 1, 1)))
    net.give(net.layer(net.coded(net.op("Transpose", value, perm=[0, 1, 3, 2])), (9, 20, 1, 1)))
    net.give(net.op("LayerNormalization", value, net.normal(9), net.normal(9)))
    gives_the_codes(net)


def test_weights_with_a_zero_point_are_computed_and_reported_in_float32() -> None:
    net = QuantizedNet()
    image = net.coded_image(20)
    for weights in (net.coded_weights(20, 20, 1, 1, zero=3), net.coded_weights(20, 20, 1, 1, zero=100, dtype="uint8")):
        net.give(net.op("Conv", image, weights), 0.1)
    assert set(placed(gives_the_codes(net))) == {("pointwise", "fp32")}


def test_coded_weights_alone_are_computed_and_reported_in_float32() -> None:
    net = QuantizedNet()
    net.output(net.op("Conv", net.input("n", 20, 9, 9), net.coded_weights(20, 20, 1, 1)))
    assert placed(gives_the_codes(net)) == [("pointwise", "fp32")]


def test_coded_activations_alone_are_computed_and_reported_in_float32() -> None:
    net = QuantizedNet()
    net.give(net.conv(net.coded_image(20), (20, 20, 1, 1)))
    assert placed(gives_the_codes(net)) == [("pointwise", "fp32")]


def test_codes_by_channel_of_activations_are_computed_in_float32() -> None:
    net = QuantizedNet()
    scales, zeros = net.constant(np.linspace(0.02, 0.05, 20), "float32"), net.constant([117] * 20, "uint8")
    codes = net.op("QuantizeLinear", net.input("n", 20, 9, 9), scales, zeros, axis=1)
    image = net.op("DequantizeLinear", codes, scales, zeros, axis=1)
    net.give(net.op("Conv", image, net.coded_weights(20, 20, 1, 1)))
    assert placed(gives_the_codes(net)) == [("pointwise", "fp32")]


def test_codes_without_a_zero_point_are_unsigned() -> None:
    net = QuantizedNet()
    scale = net.constant(0.02, "float32")
    codes = net.op("QuantizeLinear", net.op("Relu", net.input("n", 20, 9, 9)), scale)
    value = net.layer(net.op("DequantizeLinear", codes, scale), (20, 20, 1, 1))
    net.output(net.op("QuantizeLinear", value, scale), dtype="uint8")
    assert placed(gives_the_codes(net)) == [("pointwise", "int8")]


def test_codes_given_as_the_input_are_taken_as_they_are() -> None:
    net = QuantizedNet()
    net.give(net.layer(net.real(net.input("n", 20, 9, 9, dtype="uint8"), 0.5), (20, 20, 1, 1)))
    assert placed(gives_the_codes(net)) == [("pointwise", "int8")]


def test_values_beyond_the_codes_saturate() -> None:
    net = QuantizedNet("int8")
    net.give(net.layer(net.coded(net.input("n", 20, 9, 9), 0.005), (20, 20, 1, 1)), 0.002)
    gives_the_codes(net)


def test_extreme_codes_and_weights_do_not_overflow() -> None:
    net = QuantizedNet()
    image = net.op("Mul", net.input("n", 64, 5, 5), net.constant(1e4, "float32"))
    codes = net.constant(np.where(net.generator.random((16, 64, 3, 3)) < 0.5, -128, 127), "int8")
    weights = net.op("DequantizeLinear", codes, net.constant(1e-3, "float32"), net.constant(0, "int8"))
    net.give(net.op("Conv", net.coded(image), weights, pads=[1] * 4), 0.5)
    assert placed(gives_the_codes(net)) == [("convolution", "int8")]
