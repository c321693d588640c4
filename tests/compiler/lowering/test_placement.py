"""What is reported of each convolution and dense layer: its name in the file, its kernel, its arithmetic."""

from __future__ import annotations

import pytest

from edgeml.compiler.placed_operator import PlacedOperator
from tests.compiler.lowering.net import Compiled, Net

pytestmark = pytest.mark.tvm


def test_every_layer_is_named_with_its_kernel() -> None:
    net = Net()
    value = net.op("Relu", net.conv(net.input("n", 3, 9, 9), (8, 3, 3, 3), name="stem"))
    value = net.conv(value, (8, 1, 3, 3), group=8, pads=[1] * 4, name="spatial")
    gate = net.op("Relu", net.conv(net.op("GlobalAveragePool", value), (4, 8, 1, 1), name="reduce"))
    gate = net.op("Sigmoid", net.conv(gate, (8, 4, 1, 1), name="expand"))
    value = net.conv(net.op("Mul", value, gate), (12, 8, 1, 1), name="project")
    row = net.op("Flatten", net.op("GlobalAveragePool", value))
    row = net.op("Gemm", row, net.weights(12, 7), name="first head")
    net.output(net.op("MatMul", net.op("Sin", row), net.weights(7, 5), name="second head"))
    assert Compiled.of(net.model()).operators == (
        PlacedOperator("stem", "Conv", "convolution", "fp32"),
        PlacedOperator("spatial", "Conv", "depthwise", "fp32"),
        PlacedOperator("reduce", "Conv", "squeeze_excite", "fp32"),
        PlacedOperator("expand", "Conv", "squeeze_excite", "fp32"),
        PlacedOperator("project", "Conv", "pointwise", "fp32"),
        PlacedOperator("first head", "Gemm", "dense", "fp32"),
        PlacedOperator("second head", "MatMul", "dense", "fp32"),
    )


def test_the_order_is_that_of_the_file() -> None:
    net = Net()
    row = net.input("n", 6)
    first = net.op("Gemm", row, net.weights(6, 6), name="dense")
    image = net.op("Reshape", first, net.constant([0, 6, 1, 1], "int64"))
    net.output(net.conv(image, (5, 6, 1, 1), name="conv"))
    assert [operator.name for operator in Compiled.of(net.model()).operators] == ["dense", "conv"]


def test_layers_without_a_name_are_told_by_their_place() -> None:
    net = Net()
    net.output(net.conv(net.op("Relu", net.input("n", 6, 4, 4)), (5, 6, 1, 1)))
    assert [operator.name for operator in Compiled.of(net.model()).operators] == ["Conv_1"]


def test_layers_that_no_kernel_takes_are_called_general() -> None:
    net = Net()
    image = net.input("n", 3, 6, 6)
    cube = net.op("Reshape", net.conv(image, (4, 3, 1, 1), name="image"), net.constant([0, 4, 36], "int64"))
    net.output(net.op("MatMul", cube, net.weights(36, 5), name="cube"))
    net.output(net.conv(net.op("Reshape", image, net.constant([0, 3, 36], "int64")), (4, 3, 3), name="line"))
    found = {operator.name: operator.kernel for operator in Compiled.of(net.model()).operators}
    assert found == {"image": "pointwise", "cube": "general", "line": "general"}


def test_layers_that_nothing_reads_do_not_shift_the_names() -> None:
    net = Net()
    image = net.input("n", 6, 6, 6)
    net.conv(image, (6, 1, 3, 3), group=6, name="unread")
    net.output(net.conv(image, (5, 6, 1, 1), name="read"))
    found = {operator.name: operator.kernel for operator in Compiled.of(net.model()).operators}
    assert found["read"] == "pointwise"
