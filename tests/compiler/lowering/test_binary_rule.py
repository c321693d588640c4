"""Networks with binary layers compile to kernels that count bits, and compute what stock onnxruntime computes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import pytest
from onnx import helper

from edgeml.compiler.onnx_import import import_onnx
from edgeml.ops import binary_conv, binary_dense
from edgeml.ops.attach import attach_functions
from edgeml.ops.bits import packed_size
from tests.compiler.lowering.net import Compiled, Net, Value, agrees, agrees_on, feeds_of

pytestmark = pytest.mark.tvm


class BinaryNet(Net):
    """A graph in the making that may have binary layers of random weights."""

    def binary_conv(
        self, value: Value, channels: int, filters: int, *, kernel: int = 3, group: int = 1, stride: int = 1
    ) -> Value:
        """A padded BinaryConv."""
        depth = channels // group * kernel**2
        self._count += 1
        found = f"binary{self._count}"
        geometry = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [kernel // 2] * 4}
        constants = self._constants(channels, filters, depth)
        self._nodes.append(
            binary_conv.node([value, *constants], found, channels=channels, group=group, name=found, **geometry)
        )
        return found

    def binary_dense(self, value: Value, features: int, filters: int) -> Value:
        """A BinaryDense."""
        self._count += 1
        found = f"binary{self._count}"
        constants = self._constants(features, filters, features)
        self._nodes.append(binary_dense.node([value, *constants], found, features=features, name=found))
        return found

    def _constants(self, channels: int, filters: int, depth: int) -> list[Value]:
        bits = self.generator.integers(0, 256, (filters, packed_size(depth))).astype(np.uint8)
        bits[:, -1] &= 0xFF >> (-depth % 8)
        scale = self.generator.uniform(0.5, 1.5, filters) / np.sqrt(depth)
        return [
            self.constant(bits),
            self.constant(self.generator.normal(0, 0.1, channels), "float32"),
            self.constant(scale, "float32"),
            self.normal(filters),
        ]

    def output_of(self, value: Value, *shape: int | str) -> None:
        """The graph's only output; its shape cannot be inferred before the functions are attached."""
        self._outputs = [helper.make_tensor_value_info(value, onnx.TensorProto.FLOAT, shape)]

    def model(self) -> onnx.ModelProto:
        """The graph with the functions that it calls, checked."""
        graph = helper.make_graph(self._nodes, "net", self._inputs, self._outputs, self._weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
        attach_functions(model)
        onnx.checker.check_model(model, full_check=True)
        return model


def network() -> onnx.ModelProto:
    """A small binary network: float first and last layers, shortcuts, groups, a strided layer, a dense one."""
    net = BinaryNet()
    value = net.op("Relu", net.conv(net.input("n", 3, 12, 12), (20, 3, 3, 3), pads=[1] * 4))
    value = net.op("Add", net.batch_norm(net.binary_conv(value, 20, 20), 20), value)
    value = net.op(
        "PRelu", net.binary_conv(value, 20, 40, stride=2), net.constant(np.full((40, 1, 1), 0.25), "float32")
    )
    value = net.op("Relu", net.binary_conv(value, 40, 40, group=4))
    value = net.binary_dense(net.op("Flatten", net.op("GlobalAveragePool", value)), 40, 33)
    net.output_of(net.op("Gemm", value, net.weights(33, 10), net.normal(10)), "n", 10)
    return net.model()


def test_a_whole_network_agrees_at_every_batch() -> None:
    compiled = agrees(network(), n=1)
    agrees_on(compiled, feeds_of(compiled.model, n=3))
    placed = [(each.operator, each.kernel, each.precision) for each in compiled.operators]
    binary = [("BinaryConv", "binary", "binary")] * 3 + [("BinaryDense", "binary", "binary")]
    assert placed == [("Conv", "convolution", "fp32"), *binary, ("Gemm", "dense", "fp32")]


def test_what_follows_a_binary_layer_goes_into_its_kernel() -> None:
    net = BinaryNet()
    value = net.input(2, 16, 6, 6)
    result = net.op("Relu", net.op("Add", net.batch_norm(net.binary_conv(value, 16, 16), 16), value))
    net.output_of(result, 2, 16, 6, 6)
    compiled = agrees(net)
    assert compiled.kernels == ["binary"]


@pytest.mark.parametrize(
    ("channels", "filters", "group", "stride"), [(20, 20, 1, 1), (96, 24, 3, 2), (64, 8, 8, 1), (16, 16, 16, 1)]
)
def test_an_image_of_unknown_size_is_computed_by_loops(channels: int, filters: int, group: int, stride: int) -> None:
    net = BinaryNet()
    value = net.input("n", channels, "h", "w")
    net.output_of(net.binary_conv(value, channels, filters, group=group, stride=stride), "n", filters, "oh", "ow")
    compiled = agrees(net, h=9, w=8)
    assert compiled.kernels == ["general"]
    agrees_on(compiled, feeds_of(compiled.model, h=4, w=11))


@pytest.mark.parametrize("outer", [(), ("n",), ("n", 3), (2, 3, "n")], ids=str)
def test_a_dense_layer_takes_any_number_of_axes(outer: Sequence[int | str]) -> None:
    net = BinaryNet()
    net.output_of(net.binary_dense(net.input(*outer, 70), 70, 5), *outer, 5)
    assert agrees(net).kernels == ["binary"]


def test_weights_that_the_graph_computes_are_refused() -> None:
    net = BinaryNet()
    value, filters = net.input(1, 16, 5, 5), net.input(8, 18, dtype="uint8")
    constants = net._constants(16, 8, 16 * 9)[1:]
    net._nodes.append(binary_conv.node([value, filters, *constants], "y", kernel_shape=[3, 3], channels=16))
    net.output_of("y", 1, 8, 3, 3)
    with pytest.raises(ValueError, match="need constant weights"):
        import_onnx(net.model())


def test_a_layer_whose_constants_do_not_fit_is_refused() -> None:
    net = BinaryNet()
    value = net.input(1, 16, 5, 5)
    constants = [net.constant(np.zeros((8, 17), np.uint8)), *net._constants(16, 8, 16 * 9)[1:]]
    net._nodes.append(binary_conv.node([value, *constants], "y", kernel_shape=[3, 3], channels=16))
    net.output_of("y", 1, 8, 3, 3)
    graph = helper.make_graph(net._nodes, "net", net._inputs, net._outputs, net._weights)
    imports = [helper.make_opsetid("", 18), helper.make_opsetid("ai.edgeml", 1)]
    with pytest.raises(Exception, match=r"needs W of shape \(8, 18\); it has \(8, 17\)"):
        import_onnx(helper.make_model(graph, opset_imports=imports, ir_version=10))


def test_a_tree_of_filters_is_decoded_when_compiling() -> None:
    from edgeml.ops import tree_binary_conv
    from edgeml.ops.tree_coding import encode

    net = BinaryNet()
    value = net.input("n", 16, 6, 6)
    filters = np.random.default_rng(0).integers(0, 256, (9, 18)).astype(np.uint8)
    tree = encode(filters, np.array([0, 0, 0, 1, 1, 2, 3, 4, 5]))
    arrays = [net.constant(getattr(tree, name)) for name in tree_binary_conv.TREE_INPUTS]
    constants = net._constants(16, 9, 16 * 9)[1:]
    net._nodes.append(
        tree_binary_conv.node(
            [value, *arrays, *constants],
            "y",
            root_index=tree.root_index,
            rice_parameter=tree.rice_parameter,
            kernel_shape=[3, 3],
            channels=16,
        )
    )
    net.output_of("y", "n", 9, 4, 4)
    assert agrees(net).kernels == ["binary"]


def test_odd_inputs_have_the_signs_that_the_definition_gives() -> None:
    net = BinaryNet()
    value = net.input(1, 8, 4, 4)
    net.output_of(net.binary_conv(value, 8, 16), 1, 16, 4, 4)
    compiled = Compiled.of(net.model())
    image = np.random.default_rng(0).choice(np.array([0.0, -0.0, np.inf, -np.inf, np.nan], np.float32), (1, 8, 4, 4))
    agrees_on(compiled, {"input0": image})
