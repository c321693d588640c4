"""Pooling of every kind agrees with onnxruntime, between kernels and by itself."""

from __future__ import annotations

from typing import Any

import pytest

from tests.compiler.lowering.net import Net, agrees

pytestmark = pytest.mark.tvm

WINDOWS: dict[str, dict[str, Any]] = {
    "2x2": {"kernel_shape": [2, 2], "strides": [2, 2]},
    "3x3": {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1] * 4},
    "uneven": {"kernel_shape": [3, 2], "strides": [1, 2], "pads": [1, 0, 0, 1]},
    "stride 1": {"kernel_shape": [3, 3], "pads": [1] * 4},
    "rounded up": {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1},
    "padded and rounded up": {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1] * 4, "ceil_mode": 1},
    "SAME_UPPER": {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_UPPER"},
    "SAME_LOWER": {"kernel_shape": [2, 2], "strides": [2, 2], "auto_pad": "SAME_LOWER"},
    "whole image": {"kernel_shape": [9, 10]},
}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "maximum": ("MaxPool", {}),
    "average": ("AveragePool", {}),
    "average with the padding": ("AveragePool", {"count_include_pad": 1}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_pooling_over_every_window_agrees(kind: str) -> None:
    operator, attributes = KINDS[kind]
    net = Net()
    image = net.input("n", 18, 9, 10)
    packed = net.op("Relu", net.conv(image, (18, 18, 1, 1)))
    for window in WINDOWS.values():
        net.output(net.op(operator, image, **attributes, **window))
        net.output(net.conv(net.op(operator, packed, **attributes, **window), (5, 18, 1, 1)))
    agrees(net)


def test_dilated_maximum_pooling_agrees() -> None:
    net = Net()
    value = net.conv(net.input("n", 6, 11, 12), (9, 6, 1, 1))
    net.output(net.op("MaxPool", value, kernel_shape=[3, 2], dilations=[2, 3], pads=[1, 0, 2, 1]))
    agrees(net)


def test_maximum_pooling_of_negative_values_ignores_the_padding() -> None:
    net = Net()
    value = net.op("Neg", net.op("Exp", net.conv(net.input("n", 6, 8, 8), (9, 6, 1, 1))))
    net.output(net.op("MaxPool", value, kernel_shape=[3, 3], pads=[1] * 4, strides=[2, 2]))
    agrees(net)


def test_means_over_all_pixels_agree_however_they_are_written() -> None:
    net = Net()
    image = net.input("n", 18, 7, 6)
    packed = net.op("Relu", net.conv(image, (18, 1, 3, 3), group=18, pads=[1] * 4))
    axes, backwards, one = (net.constant(each, "int64") for each in ([2, 3], [-1, -2], [2]))
    for value in (image, packed):
        net.output(net.op("GlobalAveragePool", value), net.op("Flatten", net.op("GlobalAveragePool", value)))
        net.output(*(net.op("ReduceMean", value, axes, keepdims=keep) for keep in (0, 1)))
        net.output(*(net.op("ReduceMean", value, backwards, keepdims=keep) for keep in (0, 1)))
        net.output(net.op("ReduceMean", value, one, keepdims=0), net.op("ReduceMax", value, axes))
        net.output(net.op("ReduceSum", value, axes), net.op("GlobalMaxPool", value))
    agrees(net)


def test_means_of_several_depthwise_convolutions_agree() -> None:
    net = Net()
    value = net.input("n", 17, 6, 6)
    for _ in range(2):
        value = net.op("Relu", net.conv(value, (17, 1, 3, 3), group=17, pads=[1] * 4))
        net.output(net.op("GlobalAveragePool", value))
    agrees(net)


def test_pooling_of_lines_agrees() -> None:
    net = Net()
    value = net.input("n", 6, 12)
    net.output(net.op("MaxPool", value, kernel_shape=[3], strides=[2]), net.op("AveragePool", value, kernel_shape=[2]))
    agrees(net)


def test_indices_of_maxima_are_not_given_by_a_kernel_that_has_none() -> None:
    net = Net()
    value = net.conv(net.input("n", 3, 8, 8), (4, 3, 3, 3))
    net.output(net.ops("MaxPool", value, outputs=2, kernel_shape=[2, 2])[0])
    with pytest.raises(Exception, match=r"."):
        agrees(net)
