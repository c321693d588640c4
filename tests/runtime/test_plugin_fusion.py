"""Fusing binary layers keeps what a model computes, bit for bit where all layers are binary."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeml.core.errors import EdgeMLError
from edgeml.export.compress_binary import compress
from edgeml.ops.attach import attach_functions
from edgeml.ops.binary_conv import node as binary_conv
from edgeml.runtime.plugin.fusion.fuse import fuse
from edgeml.runtime.plugin.library import load_plugin

_OPSET, _IR_VERSION = 20, 10


def _absent() -> str:
    try:
        load_plugin()
    except EdgeMLError as error:
        return str(error)
    return ""


pytestmark = pytest.mark.skipif(bool(_absent()), reason=_absent() or "the native kernels are there")


@dataclass
class Network:
    """An ONNX graph that grows layer by layer; values are multiples of 1/8, so that every order of adding is exact."""

    channels: int
    size: tuple[int, int]
    seed: int = 0
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, npt.NDArray[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.seed)
        self.input_channels = self.channels
        self.here = "input"

    def constant(self, value: npt.NDArray[Any]) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants[name] = value
        return name

    def parameter(self, *shape: int, low: int = -8, high: int = 8) -> str:
        return self.constant((self.random.integers(low, high + 1, shape) / 8).astype(np.float32))

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        output = f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, [*inputs], [output], **attributes))
        self.here = output
        return output

    def conv(self, filters: int, *, stride: int = 1, kernel: int = 3, group: int = 1) -> str:
        """A binary convolution of what there is; its output."""
        bits = self.channels // group * kernel * kernel
        packed = self.random.integers(0, 256, (filters, -(-bits // 8)), np.uint8)
        if bits % 8:
            packed[:, -1] &= (1 << bits % 8) - 1
        output = f"binaryconv_{len(self.nodes)}"
        inputs = [self.here, self.constant(packed), self.parameter(self.channels), self.parameter(filters), ""]
        inputs[4] = self.parameter(filters)
        pad = kernel // 2
        self.nodes.append(
            binary_conv(
                inputs, output, kernel_shape=(kernel, kernel), channels=self.channels, group=group,
                strides=(stride, stride), pads=(pad,) * 4,
            )
        )  # fmt: skip
        self.channels, self.here = filters, output
        return output

    def model(self, *outputs: str) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "network",
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", self.input_channels, *self.size])],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs or (self.here,)],
            [numpy_helper.from_array(value, name) for name, value in self.constants.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)
        attach_functions(model)
        return model


def plain_chain() -> Network:
    network = Network(48, (9, 7))
    for filters in (64, 32, 80):
        network.conv(filters)
    return network


def pooled_chain() -> Network:
    network = Network(32, (12, 10))
    network.conv(64)
    network.add("MaxPool", network.here, kernel_shape=[2, 2], strides=[2, 2])
    network.conv(48)
    network.add("MaxPool", network.here, kernel_shape=[3, 2], strides=[2, 1])
    network.conv(16)
    return network


def residual_blocks() -> Network:
    network = Network(32, (8, 8))
    for _ in range(3):
        shortcut = network.here
        network.add("Add", network.conv(32), shortcut)
    return network


def quicknet_blocks() -> Network:
    network = Network(32, (6, 6))
    for _ in range(3):
        shortcut = network.here
        network.add("Relu", network.conv(32))
        network.add(
            "BatchNormalization", network.here, network.parameter(32), network.parameter(32), network.parameter(32),
            network.constant(np.full(32, 0.25, np.float32)), epsilon=0.0,
        )  # fmt: skip
        network.add("Add", shortcut, network.here)
    return network


def react_blocks() -> Network:
    network = Network(32, (6, 5))
    for _ in range(3):
        shortcut = network.here
        network.add("Add", network.conv(32), shortcut)
        network.add("Sub", network.here, network.parameter(32, 1, 1))
        network.add("PRelu", network.here, network.parameter(32, 1, 1))
        network.add("Add", network.parameter(1, 32, 1, 1), network.here)
    return network


def halving_blocks() -> Network:
    network = Network(32, (8, 12))
    for filters, stride in ((32, 1), (64, 2), (64, 1), (96, 2)):
        shortcut = network.here
        entry, channels = network.here, network.channels
        branch = network.conv(filters, stride=stride)
        if stride == 2:
            shortcut = network.add("AveragePool", entry, kernel_shape=[2, 2], strides=[2, 2])
        if filters != channels:
            weights = network.parameter(filters, channels, 1, 1, low=-2, high=2)
            shortcut = network.add("Conv", shortcut, weights, network.parameter(filters), kernel_shape=[1, 1])
        network.add("Add", branch, shortcut)
    return network


def branching() -> Network:
    """One output read by two convolutions with other thresholds, by a pooling and by the user."""
    network = Network(32, (6, 6))
    stem = network.conv(32)
    left = network.conv(32)
    network.here = stem
    right = network.conv(32)
    network.here = stem
    pooled = network.add("MaxPool", stem, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    network.add("Sum", left, right, pooled)
    return network


def grouped_between() -> Network:
    """Groups and odd channels are not packed; the layers around them are."""
    network = Network(32, (7, 7))
    network.conv(32)
    network.conv(64)
    network.conv(64, group=2)
    network.conv(24)
    network.conv(32)
    network.conv(16)
    return network


NETWORKS = {
    each.__name__: each
    for each in (
        plain_chain, pooled_chain, residual_blocks, quicknet_blocks, react_blocks, halving_blocks, branching,
        grouped_between,
    )
}  # fmt: skip
FUSED = {
    "plain_chain": {"PackSigns": 1, "PackedBinaryConv": 2, "PackedBinaryConvSum": 1, "Transpose": 1},
    "pooled_chain": {
        "PackSigns": 1, "PackedBinaryConv": 2, "PackedMaxPool": 2, "PackedBinaryConvSum": 1, "Transpose": 1,
    },
    "residual_blocks": {"PackSigns": 1, "Transpose": 2, "PackedBinaryConvSum": 3},
    "quicknet_blocks": {"PackSigns": 1, "Transpose": 2, "PackedBinaryConvSum": 3},
    "react_blocks": {"PackSigns": 1, "Transpose": 2, "PackedBinaryConvSum": 3},
    "halving_blocks": {
        "PackSigns": 1, "Transpose": 2, "PackedBinaryConvSum": 4, "AveragePoolChannelsLast": 2, "MatMul": 2,
    },
    "branching": {"PackSigns": 2, "PackedBinaryConvSum": 3, "Transpose": 3, "MaxPool": 1, "Sum": 1},
    "grouped_between": {
        "PackSigns": 2, "PackedBinaryConv": 2, "PackedBinaryConvSum": 2, "Transpose": 2, "BinaryConv": 2,
    },
}  # fmt: skip


def run(model: onnx.ModelProto, inputs: npt.NDArray[np.float32], *, threads: int = 1) -> list[npt.NDArray[Any]]:
    import onnxruntime

    from edgeml.runtime.plugin.registration import register_plugin

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.log_severity_level = 3
    register_plugin(settings, threads=threads)
    session = onnxruntime.InferenceSession(model.SerializeToString(), settings, providers=["CPUExecutionProvider"])
    return list(session.run(None, {"input": inputs}))


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("threads", [1, 3])
def test_fused_layers_compute_the_same_bits(name: str, threads: int) -> None:
    network = NETWORKS[name]()
    model = network.model()
    inputs = (network.random.integers(-16, 17, (2, network.input_channels, *network.size)) / 8).astype(np.float32)
    expected = run(model, inputs, threads=threads)
    for fused, apart in zip(run(fused_of(model), inputs, threads=threads), expected, strict=True):
        np.testing.assert_array_equal(fused, apart)


@pytest.mark.parametrize("name", NETWORKS)
def test_layers_are_fused_where_they_feed_each_other(name: str) -> None:
    model = fused_of(NETWORKS[name]().model())
    kinds = Counter(node.op_type for node in model.graph.node)
    assert {operator: kinds[operator] for operator in FUSED[name]} == FUSED[name]


def test_an_output_inside_a_chain_keeps_its_name_and_layout() -> None:
    network = Network(32, (5, 5))
    first = network.conv(32)
    model = network.model(first, network.conv(48))
    inputs = network.random.standard_normal((3, 32, 5, 5)).astype(np.float32)
    expected = run(model, inputs)
    fused = run(fused_of(model), inputs)
    assert [each.shape for each in fused] == [(3, 32, 5, 5), (3, 48, 5, 5)]
    for ours, apart in zip(fused, expected, strict=True):
        np.testing.assert_array_equal(ours, apart)


def test_a_lonely_convolution_stays_as_it_is() -> None:
    network = Network(32, (5, 5))
    network.conv(32)
    network.add("Sigmoid", network.here)
    network.conv(32)
    assert fuse(network.model()) is None


def test_a_residual_of_another_shape_is_not_taken() -> None:
    """Add broadcasts; a kernel that adds image to image would read beyond the smaller one."""
    network = Network(32, (5, 5))
    mean = network.add("GlobalAveragePool", "input")
    network.here = "input"
    network.conv(32)
    network.add("Add", network.conv(32), mean)
    network.conv(32)
    model = network.model()
    inputs = network.random.standard_normal((2, 32, 5, 5)).astype(np.float32)
    expected = run(model, inputs)
    np.testing.assert_array_equal(run(fused_of(model), inputs)[0], expected[0])


def test_an_empty_batch_stays_empty() -> None:
    model = fused_of(plain_chain().model())
    assert run(model, np.zeros((0, 48, 9, 7), np.float32))[0].shape == (0, 80, 9, 7)


def test_layers_stored_as_trees_are_fused_by_their_filters() -> None:
    network = Network(128, (4, 4))
    for _ in range(3):
        shortcut = network.here
        network.add("Add", network.conv(128), shortcut)
    for name, value in network.constants.items():
        if value.dtype == np.uint8:  # filters that differ little, so that a tree is smaller
            network.constants[name] = np.repeat(value[:1], len(value), 0) ^ (network.random.random(value.shape) < 0.02)
    model = network.model()
    inputs = (network.random.integers(-16, 17, (1, 128, 4, 4)) / 8).astype(np.float32)
    expected = run(model, inputs)
    report = compress(model)
    assert report.bits_after < report.bits_before
    assert {node.op_type for node in model.graph.node} == {"TreeBinaryConv", "Add"}
    np.testing.assert_array_equal(run(model, inputs)[0], expected[0])
    fused = fused_of(model)
    assert Counter(node.op_type for node in fused.graph.node)["PackedBinaryConvSum"] == 3
    np.testing.assert_array_equal(run(fused, inputs)[0], expected[0])


@pytest.mark.parametrize("name", NETWORKS)
def test_broken_models_are_left_to_onnxruntime(name: str) -> None:
    """Inputs, attributes and constants that are missing or wrong must not end the rewriting with a traceback."""
    random = np.random.default_rng(0)
    for _ in range(60):
        model = NETWORKS[name]().model()
        node = model.graph.node[random.integers(len(model.graph.node))]
        match random.integers(5):
            case 0:
                del node.attribute[random.integers(max(1, len(node.attribute))) :]
            case 1:
                node.input.pop()
            case 2:
                node.input[random.integers(len(node.input))] = "nowhere"
            case 3:
                tensor = model.graph.initializer[random.integers(len(model.graph.initializer))]
                tensor.CopyFrom(numpy_helper.from_array(np.zeros((), np.float32), tensor.name))
            case _:
                model.graph.node.insert(0, node)
        fuse(model)


def fused_of(model: onnx.ModelProto) -> onnx.ModelProto:
    fused = fuse(model)
    assert fused is not None
    return fused
