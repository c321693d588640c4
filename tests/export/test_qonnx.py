from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeml.core.errors import EdgeMLError
from edgeml.export.clean import clean
from edgeml.export.export import export_onnx
from edgeml.export.onnx_source import read_onnx
from edgeml.export.run_onnx import run_onnx

QONNX = "qonnx.custom_op.general"
Arrays = dict[str, np.ndarray]


def bipolar(source: str, scale: str, output: str, *, domain: str = QONNX) -> onnx.NodeProto:
    return helper.make_node("BipolarQuant", [source, scale], [output], domain=domain, name=f"{output}_node")


def graph_of(nodes: list[onnx.NodeProto], constants: Arrays, shape: list[int | str], classes: int) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "qonnx",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", classes])],
        [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 11), helper.make_opsetid(QONNX, 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=7)


def network() -> tuple[onnx.ModelProto, Arrays]:
    """As Brevitas exports one: float convolution, batch norm, signs, pooling, binary convolution, binary classifier."""
    generator = np.random.default_rng(0)
    constants = {
        "w0": generator.standard_normal((16, 3, 3, 3)),
        "gamma0": generator.uniform(0.5, 1, 16),
        "beta0": generator.standard_normal(16),
        "mean0": generator.standard_normal(16),
        "variance0": generator.uniform(0.5, 1, 16),
        "half": np.array(0.5),
        "w1": generator.standard_normal((32, 16, 3, 3)),
        "scale1": generator.uniform(0.1, 1, (32, 1, 1, 1)),
        "bias1": generator.standard_normal(32),
        "gamma1": generator.uniform(-1, 1, 32),
        "beta1": generator.standard_normal(32),
        "mean1": generator.standard_normal(32),
        "variance1": generator.uniform(0.5, 1, 32),
        "w2": generator.standard_normal((10, 512)),
        "scale2": np.array([0.7]),
        "bias2": generator.standard_normal(10),
    }
    arrays = {name: value.astype(np.float32) for name, value in constants.items()}
    norm = [["gamma0", "beta0", "mean0", "variance0"], ["gamma1", "beta1", "mean1", "variance1"]]
    nodes = [
        helper.make_node("Conv", ["x", "w0"], ["a"], kernel_shape=[3, 3], pads=[1] * 4, name="conv0"),
        helper.make_node("BatchNormalization", ["a", *norm[0]], ["b"], name="norm0"),
        bipolar("b", "half", "c"),
        helper.make_node("MaxPool", ["c"], ["d"], kernel_shape=[2, 2], strides=[2, 2], name="pool"),
        bipolar("w1", "scale1", "w1_signs"),
        helper.make_node("Conv", ["d", "w1_signs", "bias1"], ["e"], kernel_shape=[3, 3], pads=[1] * 4, name="conv1"),
        helper.make_node("BatchNormalization", ["e", *norm[1]], ["f"], name="norm1"),
        bipolar("f", "half", "g"),
        helper.make_node("Flatten", ["g"], ["h"], axis=1, name="flatten"),
        bipolar("w2", "scale2", "w2_signs"),
        helper.make_node("Transpose", ["w2_signs"], ["w2_columns"], perm=[1, 0], name="transpose"),
        helper.make_node("MatMul", ["h", "w2_columns"], ["i"], name="classifier"),
        helper.make_node("Add", ["i", "bias2"], ["y"], name="add"),
    ]
    return graph_of(nodes, arrays, ["N", 3, 8, 8], 10), arrays


def by_torch(arrays: Arrays, x: np.ndarray) -> np.ndarray:
    """The same network by torch's functions, from QONNX's definition of BipolarQuant."""
    import torch
    from torch.nn import functional as F

    t = {name: torch.from_numpy(value) for name, value in arrays.items()}

    def signs(value: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        return torch.where(value >= 0, scale, -scale)

    def norm(value: torch.Tensor, layer: int) -> torch.Tensor:
        return F.batch_norm(
            value, t[f"mean{layer}"], t[f"variance{layer}"], t[f"gamma{layer}"], t[f"beta{layer}"], eps=1e-5
        )

    value = F.max_pool2d(signs(norm(F.conv2d(torch.from_numpy(x), t["w0"], padding=1), 0), t["half"]), 2)
    value = norm(F.conv2d(value, signs(t["w1"], t["scale1"]), t["bias1"], padding=1), 1)
    value = signs(value, t["half"]).flatten(1) @ signs(t["w2"], t["scale2"]).T + t["bias2"]
    result: np.ndarray = value.numpy()
    return result


def save(model: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "source.onnx"
    onnx.save(model, path)
    return path


def kinds(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


@pytest.mark.torch
def test_a_binary_network_becomes_binary_operators_with_all_constants_inside(tmp_path: Path) -> None:
    model, arrays = network()
    source = read_onnx(save(model, tmp_path))
    cleaned = clean(source)
    assert kinds(cleaned) == ["Conv", "MaxPool", "BinaryConv", "Reshape", "BinaryDense"]
    x = np.random.default_rng(1).standard_normal((4, 3, 8, 8)).astype(np.float32)
    expected = by_torch(arrays, x)
    for result in (source, cleaned, clean(source, inline_functions=True)):
        (found,) = run_onnx(result, {"x": x}).values()
        assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.torch
@pytest.mark.parametrize("inline", [False, True])
def test_the_exported_file_is_small_and_equal_to_its_source(tmp_path: Path, inline: bool) -> None:
    model, _ = network()
    result = export_onnx(save(model, tmp_path), tmp_path / "out.onnx", inline_functions=inline)
    assert result.parity.passed
    exported = read_onnx(tmp_path / "out.onnx")
    assert bool(exported.functions) is not inline
    weights = [tensor for tensor in exported.graph.initializer if tensor.data_type == TensorProto.UINT8]
    assert sorted(len(tensor.raw_data) for tensor in weights) == [32 * 18, 10 * 64]


def test_weights_and_signs_that_no_binary_layer_takes_become_standard_operators(tmp_path: Path) -> None:
    nodes = [
        bipolar("w", "scale", "w_signs"),
        helper.make_node("MatMul", ["x", "w_signs"], ["a"]),  # of floats
        bipolar("a", "scale", "y"),  # an output
    ]
    weights = np.random.default_rng(2).standard_normal((6, 4))
    model = read_onnx(save(graph_of(nodes, {"w": weights, "scale": np.array(0.25)}, ["N", 6], 4), tmp_path))
    assert kinds(model) == ["MatMul", "Less", "Where"]
    assert {entry.domain for entry in model.opset_import} == {""}
    x = np.random.default_rng(3).standard_normal((5, 6)).astype(np.float32)
    (found,) = run_onnx(model, {"x": x}).values()
    assert np.array_equal(found, np.where(x @ np.where(weights >= 0, 0.25, -0.25) >= 0, 0.25, -0.25))


@pytest.mark.parametrize("domain", ["finn.custom_op.general", "onnx.brevitas"])
def test_the_domain_s_older_names_are_read(tmp_path: Path, domain: str) -> None:
    model = graph_of([bipolar("x", "scale", "y", domain=domain)], {"scale": np.array(1.0)}, ["N", 4], 4)
    assert kinds(read_onnx(save(model, tmp_path))) == ["Less", "Where"]


def test_another_quantizer_is_named_with_the_way_round(tmp_path: Path) -> None:
    quant = helper.make_node("Quant", ["x", "scale", "scale", "scale"], ["y"], domain=QONNX, name="Quant_3")
    model = graph_of([quant], {"scale": np.array(1.0)}, ["N", 4], 4)
    with pytest.raises(EdgeMLError, match=r"'Quant_3' is QONNX's Quant; .* BipolarQuant"):
        read_onnx(save(model, tmp_path))


def test_a_scale_that_changes_is_refused(tmp_path: Path) -> None:
    model = graph_of([bipolar("x", "x", "y")], {}, ["N", 4], 4)
    with pytest.raises(EdgeMLError, match="scale of node 'y_node' \\(BipolarQuant\\) is not constant"):
        read_onnx(save(model, tmp_path))
