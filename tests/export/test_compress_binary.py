"""Compression puts trees where they take less room, changes no integer, and reports both forms."""

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from edgeml.export.compress_binary import compress
from edgeml.ops import binary_conv
from edgeml.ops.attach import attach_functions, called_operators

SIZE = 6


def network(*shares: float, channels: int = 128, shared: bool = False) -> onnx.ModelProto:
    """A chain of binary convolutions whose filters differ from a common one by `shares` of their bits."""
    generator = np.random.default_rng(0)
    nodes, tensors, value = [], [], "X"
    for layer, share in enumerate(shares):
        bits = channels * 9
        common = generator.integers(0, 2, bits)
        filters = np.packbits(common ^ (generator.random((channels, bits)) < share), axis=1, bitorder="little")
        values: dict[str, npt.NDArray[Any]] = {
            f"w{layer}": filters,
            f"threshold{layer}": generator.standard_normal(channels).astype(np.float32),
            f"scale{layer}": generator.standard_normal(channels).astype(np.float32),
            f"bias{layer}": generator.standard_normal(channels).astype(np.float32),
        }
        names = list(values)
        if shared and layer:
            values.pop(f"w{layer}")
            names[0] = "w0"
        tensors += [numpy_helper.from_array(array, name) for name, array in values.items()]
        made = f"Y{layer}" if layer + 1 < len(shares) else "Y"
        nodes.append(
            binary_conv.node(
                [value, *names], made, kernel_shape=[3, 3], channels=channels, pads=[1] * 4, name=f"conv{layer}"
            )
        )
        value = made
    shape = [1, channels, SIZE, SIZE]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("X", onnx.TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("Y", onnx.TensorProto.FLOAT, shape)],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    attach_functions(model)
    return onnx.shape_inference.infer_shapes(model, strict_mode=True)


def outputs(model: onnx.ModelProto) -> npt.NDArray[np.float32]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    x = np.random.default_rng(1).standard_normal((1, 128, SIZE, SIZE)).astype(np.float32)
    result: npt.NDArray[np.float32] = session.run(None, {"X": x})[0]
    return result


def test_alike_filters_become_trees_and_others_stay() -> None:
    model = network(0.05, 0.5)
    before, size = outputs(model), model.ByteSize()
    report = compress(model)
    onnx.checker.check_model(model, full_check=True)
    assert [node.op_type for node in model.graph.node] == ["TreeBinaryConv", "BinaryConv"]
    assert {function.name for function in model.functions} == called_operators(model)
    np.testing.assert_array_equal(outputs(model), before)
    assert [layer.compressed for layer in report.layers] == [True, False]
    first = report.layers[0].tree
    stored = [tensor for tensor in model.graph.initializer if tensor.name.startswith("w0_")]
    assert sum(8 * numpy_helper.to_array(tensor).nbytes for tensor in stored) == first.tree_storage_bits
    assert report.bits_after == first.tree_storage_bits + report.layers[1].tree.dense_storage_bits < report.bits_before
    assert report.depth == first.depth
    assert model.ByteSize() < size


def test_bit_operations_count_every_output_pixel() -> None:
    report = compress(network(0.05))
    tree = report.layers[0].tree
    assert report.bit_operations_before == 128 * 1152 * SIZE * SIZE
    assert report.bit_operations_after == (1152 + tree.differing_bits) * SIZE * SIZE
    assert report.to_json()["mean_edge"] == tree.mean_edge


def test_bit_operations_are_left_open_where_the_size_is() -> None:
    model = network(0.05)
    model.graph.output[0].type.tensor_type.shape.dim[2].dim_param = "height"
    assert compress(model).bit_operations_after is None


def test_filters_that_two_nodes_read_stay() -> None:
    model = network(0.05, 0.05, shared=True)
    report = compress(model)
    assert called_operators(model) == {"BinaryConv"}
    assert not any(layer.compressed for layer in report.layers)


def test_savings_smaller_than_the_operators_body_are_left() -> None:
    model = network(0.05, channels=32)
    report = compress(model)
    assert called_operators(model) == {"BinaryConv"}
    assert report.layers[0].tree.tree_storage_bits < report.layers[0].tree.dense_storage_bits
    assert report.bits_after == report.bits_before


def test_compressing_twice_changes_nothing_and_reports_the_same() -> None:
    model = network(0.05, 0.5)
    first = compress(model)
    content = model.SerializeToString(deterministic=True)
    assert compress(model) == first
    assert model.SerializeToString(deterministic=True) == content


def test_a_graph_without_binary_layers_is_left_alone() -> None:
    x = helper.make_tensor_value_info("X", onnx.TensorProto.FLOAT, [1])
    y = helper.make_tensor_value_info("Y", onnx.TensorProto.FLOAT, [1])
    model = helper.make_model(helper.make_graph([helper.make_node("Relu", ["X"], ["Y"])], "g", [x], [y]))
    content = model.SerializeToString()
    report = compress(model)
    assert model.SerializeToString() == content
    assert (report.layers, report.bits_before, report.bit_operations_after, report.mean_edge) == ((), 0, 0, 0.0)
