"""Whole models: operators without kernels between packed values, dynamic axes, several inputs and outputs."""

from __future__ import annotations

import numpy as np
import onnx.reference
import pytest

from tests.compiler.lowering.net import Compiled, Net, Value, agrees, agrees_on, difference, feeds_of

pytestmark = pytest.mark.tvm


def packed(net: Net, channels: int = 18) -> Value:
    return net.op("Relu", net.conv(net.input("n", 6, 8, 8), (channels, 6, 3, 3), pads=[1] * 4))


def test_operators_without_kernels_agree_before_and_after_convolutions() -> None:
    net = Net()
    value = packed(net)
    sizes = net.constant([1, 1, 2, 2], "float32")
    pads = net.constant([0, 0, 1, 2, 0, 0, 0, 1], "int64")
    starts, ends, axes = (net.constant(each, "int64") for each in ([1, 2], [7, 8], [2, 3]))
    between = {
        "ConvTranspose": net.op("ConvTranspose", value, net.weights(18, 7, 2, 2), strides=[2, 2]),
        "Resize": net.op("Resize", value, None, sizes, mode="nearest"),
        "linear Resize": net.op("Resize", value, None, sizes, mode="linear"),
        "Pad": net.op("Pad", value, pads),
        "reflecting Pad": net.op("Pad", value, pads, mode="reflect"),
        "Transpose": net.op("Transpose", value, perm=[0, 1, 3, 2]),
        "Slice": net.op("Slice", value, starts, ends, axes),
        "LayerNormalization": net.op("LayerNormalization", value, net.normal(8), net.normal(8)),
        "InstanceNormalization": net.op("InstanceNormalization", value, net.normal(18), net.normal(18)),
        "DepthToSpace": net.op("DepthToSpace", net.conv(value, (12, 18, 1, 1)), blocksize=2),
        "SpaceToDepth": net.op("SpaceToDepth", value, blocksize=2),
        "ArgMax": net.op("Cast", net.op("ArgMax", value, axis=1), to=1),
        "Gather": net.op("Gather", value, net.constant([3, 0, 17], "int64"), axis=1),
    }
    widths = {"ConvTranspose": 7, "DepthToSpace": 3, "SpaceToDepth": 72, "ArgMax": 1, "Gather": 3}
    for name, each in between.items():
        net.output(net.op("Tanh", net.conv(each, (4, widths.get(name, 18), 1, 1))))
    agrees(net)


def test_operators_of_other_ranks_agree() -> None:
    net = Net()
    value = packed(net)
    tokens = net.op("Transpose", net.op("Reshape", value, net.constant([0, 18, 64], "int64")), perm=[0, 2, 1])
    tokens = net.op("LayerNormalization", tokens, net.normal(18), net.normal(18))
    scores = net.op("Softmax", net.op("MatMul", tokens, net.op("Transpose", tokens, perm=[0, 2, 1])))
    mixed = net.op("Add", tokens, net.op("MatMul", net.op("MatMul", scores, tokens), net.weights(18, 18)))
    image = net.op("Reshape", net.op("Transpose", mixed, perm=[0, 2, 1]), net.constant([0, 18, 8, 8], "int64"))
    net.output(mixed, net.op("Relu", net.conv(image, (5, 18, 3, 3))))
    agrees(net)


def test_parts_of_a_packed_value_agree() -> None:
    net = Net()
    parts = net.ops("Split", packed(net), net.constant([4, 8, 6], "int64"), outputs=3, axis=1)
    net.output(net.conv(parts[0], (5, 4, 1, 1)), parts[1], net.op("Sigmoid", parts[2]))
    agrees(net)


def test_one_build_runs_at_every_batch() -> None:
    net = Net()
    value = packed(net)
    gate = net.op("Relu", net.conv(net.op("GlobalAveragePool", value), (6, 18, 1, 1)))
    value = net.op("Mul", value, net.op("Sigmoid", net.conv(gate, (18, 6, 1, 1))))
    value = net.op(
        "Concat",
        net.conv(value, (5, 18, 1, 1)),
        net.op("Resize", value, None, net.constant([1] * 4, "float32")),
        axis=1,
    )
    row = net.op("Flatten", net.op("AveragePool", value, kernel_shape=[2, 2], strides=[2, 2]))
    net.output(net.op("Softmax", net.op("Gemm", row, net.weights(9, 23 * 16), transB=1)))
    compiled = Compiled.of(net.model())
    for batch in (1, 2, 5, 1):
        agrees_on(compiled, feeds_of(compiled.model, n=batch))


def test_one_build_gives_the_samples_of_a_batch_the_same_answers() -> None:
    net = Net()
    net.output(net.op("Flatten", net.op("GlobalAveragePool", packed(net))))
    compiled = Compiled.of(net.model())
    feeds = feeds_of(compiled.model, n=3)
    whole = compiled.run(feeds)[0]
    for index in range(3):
        alone = compiled.run({name: np.ascontiguousarray(array[index : index + 1]) for name, array in feeds.items()})
        np.testing.assert_array_equal(alone[0][0], whole[index])


@pytest.mark.parametrize("batch", [1, 3])
def test_fixed_batches_agree(batch: int) -> None:
    net = Net()
    value = net.op("Relu", net.conv(net.input(batch, 6, 8, 8), (18, 6, 3, 3)))
    value = net.op("Add", value, net.conv(value, (18, 1, 3, 3), group=18, pads=[1] * 4))
    row = net.op("Flatten", net.op("GlobalAveragePool", value))
    net.output(value, net.op("Gemm", row, net.weights(9, 18), net.normal(9), transB=1))
    agrees(net)


def test_images_of_dynamic_size_agree() -> None:
    net = Net()
    value = net.op("Relu", net.conv(net.input("n", 6, "h", "w"), (18, 6, 3, 3), pads=[1] * 4))
    value = net.op(
        "MaxPool", net.conv(value, (18, 1, 3, 3), group=18, pads=[1] * 4), kernel_shape=[2, 2], strides=[2, 2]
    )
    row = net.op("Flatten", net.op("GlobalAveragePool", value))
    net.output(value, net.op("Gemm", row, net.weights(9, 18), net.normal(9), transB=1))
    compiled = Compiled.of(net.model())
    for sizes in ({"n": 1, "h": 8, "w": 9}, {"n": 2, "h": 16, "w": 4}):
        agrees_on(compiled, feeds_of(compiled.model, **sizes))


def test_a_dynamic_height_alone_agrees() -> None:
    net = Net()
    value = net.op("Sigmoid", net.conv(net.input(1, 6, "h", 9), (18, 6, 3, 3), pads=[1] * 4))
    net.output(net.op("Add", value, net.conv(value, (18, 18, 1, 1))))
    compiled = Compiled.of(net.model())
    for height in (3, 10):
        agrees_on(compiled, feeds_of(compiled.model, h=height))


def test_several_inputs_of_one_batch_agree() -> None:
    net = Net()
    image, row = net.input("n", 6, 8, 8), net.input("n", 10)
    pooled = net.op("Flatten", net.op("GlobalAveragePool", net.conv(image, (18, 6, 1, 1))))
    net.output(net.op("Gemm", net.op("Concat", pooled, row, axis=1), net.weights(28, 5)))
    net.output(net.op("Add", pooled, net.op("Gemm", row, net.weights(10, 18))))
    agrees(net)


def test_inputs_of_batches_named_apart_agree() -> None:
    net = Net()
    left, right = net.input("n", 6, 8, 8), net.input("m", 6, 8, 8)
    net.output(*(net.op("Relu", net.conv(each, (18, 6, 1, 1))) for each in (left, right)))
    agrees(net, n=2, m=3)


def test_inputs_that_nothing_reads_are_taken() -> None:
    net = Net()
    net.input("n", 3)
    net.output(packed(net))
    agrees(net)


@pytest.mark.parametrize("dtype", ["float16", "float64", "int64", "uint8", "bool"])
def test_inputs_of_other_types_agree(dtype: str) -> None:
    net = Net()
    image = net.input("n", 6, 8, 8, dtype=dtype)
    net.output(net.op("Relu", net.conv(net.op("Cast", image, to=1), (18, 6, 3, 3))))
    agrees(net)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float16", 5e-3), ("float64", 1e-12)])
def test_layers_of_other_floats_take_the_general_schedule(dtype: str, tolerance: float) -> None:
    net = Net()
    image = net.input("n", 6, 8, 8, dtype=dtype)
    value = net.op("Relu", net.op("Conv", image, net.constant(net.generator.standard_normal((4, 6, 3, 3)) / 7, dtype)))
    row = net.op("Flatten", net.op("GlobalAveragePool", value))
    row = net.op("MatMul", row, net.constant(net.generator.standard_normal((4, 5)), dtype))
    net.output(net.op("Add", value, value), net.op("Softmax", row), dtype=dtype)
    model = net.model()
    compiled, feeds = Compiled.of(model), feeds_of(model)
    assert {operator.kernel for operator in compiled.operators} == {"general"}
    reference = onnx.reference.ReferenceEvaluator(model).run(None, feeds)
    for found, expected in zip(compiled.run(feeds), reference, strict=True):
        assert difference(found, expected) <= tolerance


def test_integer_arithmetic_beside_kernels_agrees() -> None:
    net = Net()
    tokens = net.input("n", 4, dtype="int64")
    rows = net.op("Gather", net.normal(9, 12), tokens)
    net.output(net.op("Relu", net.op("MatMul", net.op("Flatten", rows), net.weights(48, 20))))
    net.output(net.op("Add", tokens, tokens), dtype="int64")
    agrees(net)


def test_a_model_without_kernels_agrees() -> None:
    net = Net()
    net.output(net.op("Transpose", net.input("n", 3, 4), perm=[0, 2, 1]))
    compiled = agrees(net)
    assert compiled.operators == ()


def test_calls_do_not_disturb_earlier_results() -> None:
    net = Net()
    net.output(packed(net))
    compiled = Compiled.of(net.model())
    first, second = feeds_of(compiled.model, seed=1), feeds_of(compiled.model, seed=2)
    kept = compiled.run(first)[0]
    copy = kept.copy()
    compiled.run(second)
    np.testing.assert_array_equal(kept, copy)
    np.testing.assert_array_equal(compiled.run(first)[0], copy)
