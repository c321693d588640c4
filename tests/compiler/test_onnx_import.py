"""ONNX models come out of the importer in the form that kernels are found for, and mean the same."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import onnx
import pytest

from edgeml.compiler.onnx_import import import_onnx
from tests.compiler.lowering.net import Compiled, Net, agrees, feeds_of

pytestmark = pytest.mark.tvm


def operators(model: onnx.ModelProto) -> Counter[str]:
    """How often each relax operator is called."""
    found: Counter[str] = Counter()
    for block in import_onnx(model)["main"].body.blocks:
        for binding in block.bindings:
            if hasattr(binding.value, "op"):
                found[binding.value.op.name.removeprefix("relax.")] += 1
    return found


def test_a_clip_is_one_operator_for_each_bound() -> None:
    net = Net()
    value = net.input("n", 3, 4, 4)
    low, high = net.constant(0, "float32"), net.constant(6, "float32")
    net.output(net.op("Clip", value, low, high), net.op("Clip", value, low), net.op("Clip", value, None, high))
    net.output(net.op("Clip", value))
    assert operators(net.model()) == {"maximum": 2, "minimum": 2}
    agrees(net)


def test_a_clip_of_old_files_has_its_bounds_as_attributes() -> None:
    net = Net(opset=6)
    net.output(
        net.op("Clip", net.input("n", 3, 4, 4), min=-0.25, max=0.5), net.op("Clip", net.input("n", 3, 4, 4), max=0.5)
    )
    assert operators(net.model()) == {"maximum": 1, "minimum": 2}
    agrees(net)


def test_a_clip_of_integers_agrees() -> None:
    net = Net()
    value = net.input("n", 5, dtype="int64")
    net.output(net.op("Clip", value, net.constant(2, "int64"), net.constant(6, "int64")), dtype="int64")
    agrees(net)


def test_a_sum_is_additions() -> None:
    net = Net()
    value = net.input("n", 3)
    net.output(net.op("Sum", value, value, net.normal(3), net.input(1, 3)))
    assert operators(net.model()) == {"add": 3}
    agrees(net)


def test_a_sum_of_one_tensor_is_the_tensor() -> None:
    net = Net()
    net.output(net.op("Sum", net.input("n", 3)))
    agrees(net)


def test_batch_normalization_is_arithmetic() -> None:
    net = Net()
    net.output(net.batch_norm(net.input("n", 3, 4, 4), 3))
    assert "nn.batch_norm" not in operators(net.model())
    agrees(net)


@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER"])
def test_automatic_padding_is_written_out_for_every_windowed_operator(mode: str) -> None:
    net = Net()
    value = net.input("n", 4, 7, 10)
    for strides in ([1, 1], [2, 2], [3, 2]):
        common: dict[str, Any] = {"auto_pad": mode, "strides": strides}
        net.output(net.conv(value, (5, 4, 2, 3), **common))
        net.output(net.op("MaxPool", value, kernel_shape=[2, 3], **common))
        net.output(net.op("AveragePool", value, kernel_shape=[3, 2], **common))
    assert operators(net.model())["nn.conv2d"] == 3
    agrees(net)


@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER"])
def test_automatic_padding_of_a_dynamic_image_agrees(mode: str) -> None:
    net = Net()
    value = net.input("n", 4, "h", "w")
    net.output(net.conv(value, (5, 4, 3, 3), auto_pad=mode))
    agrees(net, h=7, w=10)


def test_automatic_padding_with_dilation_keeps_the_size() -> None:
    net = Net()
    value, weights = net.input("n", 4, 9, 9), net.weights(5, 4, 3, 3)
    net.output(net.op("Conv", value, weights, auto_pad="SAME_UPPER", dilations=[2, 2]))
    net.output(net.op("Conv", value, weights, pads=[2] * 4, dilations=[2, 2]))
    model = net.model()
    automatic, written_out = Compiled.of(model).run(feeds_of(model))
    np.testing.assert_array_equal(automatic, written_out)


def test_the_given_model_is_left_as_it_was() -> None:
    net = Net()
    net.output(net.conv(net.input("n", 4, 9, 9), (5, 4, 3, 3), auto_pad="SAME_UPPER"))
    model = net.model()
    before = model.SerializeToString()
    import_onnx(model)
    assert model.SerializeToString() == before


def test_functions_of_the_model_are_inlined() -> None:
    model = onnx.parser.parse_model(
        """
        <ir_version: 9, opset_import: ["": 18, "local": 1]>
        net (float[n, 3] x) => (float[n, 3] y) { y = local.twice_and_one (x) }
        <domain: "local", opset_import: ["": 18]>
        twice_and_one (x) => (y) {
            one = Constant <value = float {1.0}> ()
            twice = Add (x, x)
            y = Add (twice, one)
        }
        """
    )
    agrees(model)


def test_weights_given_by_constant_nodes_agree() -> None:
    net = Net()
    weights = onnx.numpy_helper.from_array(net.generator.standard_normal((4, 3, 3, 3)).astype("float32"))
    net.output(net.op("Conv", net.input("n", 3, 6, 6), net.op("Constant", value=weights)))
    assert agrees(net).kernels == ["convolution"]


def test_weights_that_several_layers_share_agree() -> None:
    net = Net()
    value, weights = net.input("n", 4, 6, 6), net.weights(4, 4, 3, 3)
    for _ in range(2):
        value = net.op("Relu", net.op("Conv", value, weights, pads=[1] * 4))
    net.output(value)
    agrees(net)


def test_weights_worked_out_in_the_file_agree() -> None:
    net = Net()
    weights = net.op("Mul", net.weights(4, 3, 3, 3), net.op("Sqrt", net.constant([[[[4.0]]]], "float32")))
    net.output(net.op("Conv", net.input("n", 3, 6, 6), net.op("Transpose", weights, perm=[0, 1, 3, 2])))
    agrees(net)


def test_an_operator_that_cannot_be_imported_is_refused() -> None:
    net = Net()
    sequence = net.input(5, "n", 4)
    net.output(net.ops("LSTM", sequence, net.normal(1, 12, 4), net.normal(1, 12, 3), outputs=3, hidden_size=3)[0])
    with pytest.raises(Exception, match="LSTM"):
        import_onnx(net.model())
