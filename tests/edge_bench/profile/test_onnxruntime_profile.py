"""What onnxruntime's profiler tells of whole models: counts, precisions, and what is not executed as asked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeml.core.artifact import Artifact, Precision
from edgeml.core.bench_profile import Profile
from edgeml.core.errors import EdgeMLError
from edgeml.edge_bench.feeds import random_feeds
from edgeml.edge_bench.profile.fallbacks import BODY
from edgeml.edge_bench.profile.onnxruntime_profile import profile_onnxruntime
from edgeml.ops.attach import attach_functions
from edgeml.ops.binary_conv import node as binary_conv
from edgeml.runtime.onnx_file import open_artifact
from edgeml.runtime.plugin.library import LIBRARY_VARIABLE, load_plugin
from tests.conftest import WriteConvNet


def profiled(path: Path, *, runs: int = 3, batch: int = 1, precision: Precision | None = None) -> Profile:
    artifact = open_artifact(path)
    if precision is not None:
        values: dict[str, Any] = {field: getattr(artifact, field) for field in Artifact.__dataclass_fields__}
        artifact = Artifact(**values | {"precision": precision})
    return profile_onnxruntime(artifact, 1, random_feeds(artifact.inputs, batch, 0), runs)


def save(
    path: Path,
    nodes: list[onnx.NodeProto],
    constants: dict[str, npt.NDArray[Any]],
    shape: list[int],
    *,
    bodies: bool = False,
) -> Path:
    """A model from `x` to `y`, float32."""
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    if bodies:
        attach_functions(model)
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("batch", [1, 3])
def test_counts_are_the_models_own_whatever_blocks_onnxruntime_fills_up(
    write_conv_net: WriteConvNet, batch: int
) -> None:
    path = write_conv_net(channels=20, layers=2, size=8, classes=10)
    found = profiled(path, batch=batch)
    assert sum(each.macs or 0 for each in found.operators) == batch * (64 * 20 * 9 + 64 * 20 * 20 * 9 + 20 * 10)
    assert sum(each.share for each in found.operators) == pytest.approx(1)
    assert all(each.precision == "float32" and each.fallback is None for each in found.operators)
    assert found.runs == 3
    assert 0 < sum(each.milliseconds for each in found.operators) < 2 * found.run_ms


def test_weights_that_onnxruntime_rearranged_are_bytes_moved_too(write_conv_net: WriteConvNet) -> None:
    found = profiled(write_conv_net(channels=64, layers=1, classes=1000))
    (product,) = [each for each in found.operators if each.operator in {"MatMul", "Gemm"}]
    assert product.bytes_moved == 4 * (64 + 64 * 1000 + 1000)
    assert product.gflops == pytest.approx(2 * 64_000 / product.milliseconds / 1e6)


def test_the_trace_leaves_nothing_behind(
    write_conv_net: WriteConvNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_conv_net()
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(work))
    monkeypatch.chdir(work)
    profiled(path)
    path.write_bytes(b"\x00no model")
    with pytest.raises(EdgeMLError):
        profiled(path)
    assert list(work.iterdir()) == []


def quantized_net(path: Path) -> Path:
    """Two int8 convolutions with a float32 function between them that has no 8-bit form."""
    generator = np.random.default_rng(0)
    constants: dict[str, npt.NDArray[Any]] = {"scale": np.float32(0.05), "zero": np.uint8(128), "w_zero": np.int8(0)}  # type: ignore[dict-item]
    nodes = []

    def quantize(value: str) -> str:
        nodes.append(helper.make_node("QuantizeLinear", [value, "scale", "zero"], [f"{value}_q"], name=f"{value}_q"))
        nodes.append(
            helper.make_node("DequantizeLinear", [f"{value}_q", "scale", "zero"], [f"{value}_d"], name=f"{value}_d")
        )
        return f"{value}_d"

    def convolution(name: str, value: str) -> str:
        constants[f"{name}_w"] = generator.integers(-127, 128, (16, 16, 3, 3), dtype=np.int8)
        weights = [f"{name}_w", "scale", "w_zero"]
        nodes.append(helper.make_node("DequantizeLinear", weights, [f"{name}_wd"], name=f"{name}_wd"))
        nodes.append(helper.make_node("Conv", [quantize(value), f"{name}_wd"], [name], name=name))
        return quantize(name)

    first = convolution("first", "x")
    nodes.append(helper.make_node("Erf", [first], ["curve"], name="curve"))
    second = convolution("second", "curve")
    nodes.append(helper.make_node("Identity", [second], ["y"], name="last"))
    return save(path, nodes, {key: np.asarray(value) for key, value in constants.items()}, [1, 16, 9, 9])


def test_float_operators_within_an_int8_model_are_named(tmp_path: Path) -> None:
    found = profiled(quantized_net(tmp_path / "net.onnx"), precision="int8")
    by_name = {each.name.split("_token")[0]: each for each in found.operators}
    convolutions = [each for each in found.operators if each.operator == "QLinearConv"]
    assert [each.precision for each in convolutions] == ["uint8", "uint8"]
    assert [each.macs for each in convolutions] == [16 * 49 * 144, 16 * 25 * 144]
    assert all(each.fallback is None for each in convolutions)
    assert by_name["curve"].fallback == "float32 in an int8 model"
    within = [each for each in found.operators if each.fallback and "converts" in each.fallback]
    assert {each.operator for each in within} == {"QuantizeLinear", "DequantizeLinear"}
    assert found.operators[0].operator == "QuantizeLinear"
    assert found.operators[0].fallback is None
    assert found.operators[-1].fallback is None


def test_a_float16_model_runs_in_float32_where_there_are_no_kernels(tmp_path: Path) -> None:
    weights = np.ones((16, 16, 3, 3), np.float16)
    nodes = [
        helper.make_node("Cast", ["x"], ["half"], to=TensorProto.FLOAT16, name="in"),
        helper.make_node("ConvTranspose", ["half", "w"], ["wide"], name="up"),
        helper.make_node("Cast", ["wide"], ["y"], to=TensorProto.FLOAT, name="out"),
    ]
    found = profiled(save(tmp_path / "net.onnx", nodes, {"w": weights}, [1, 16, 5, 5]), precision="fp16")
    (layer,) = [each for each in found.operators if each.operator == "ConvTranspose"]
    assert (layer.precision, layer.fallback) == ("float32", "float32 in a float16 model")
    assert layer.macs == 16 * 25 * 16 * 9


def binary_net(path: Path, *, name: str = "head") -> Path:
    generator = np.random.default_rng(0)
    constants: dict[str, npt.NDArray[Any]] = {
        "stem": generator.standard_normal((16, 3, 3, 3)).astype(np.float32),
        "bits": generator.integers(0, 256, (24, 18), dtype=np.uint8),
        "threshold": np.zeros(16, np.float32),
        "scale": np.ones(24, np.float32),
        "bias": np.zeros(24, np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "stem"], ["features"], name=name),
        binary_conv(
            ["features", "bits", "threshold", "scale", "bias"], "signs", kernel_shape=(3, 3), channels=16, name="binary"
        ),
        helper.make_node("Relu", ["signs"], ["y"], name="last"),
    ]
    return save(path, nodes, constants, [1, 3, 12, 12], bodies=True)


FLOAT_MACS, BINARY_MACS = 16 * 100 * 27, 24 * 64 * 144


def test_a_binary_layer_runs_by_the_native_kernel(tmp_path: Path) -> None:
    try:
        load_plugin()
    except EdgeMLError as error:
        pytest.skip(str(error))
    found = profiled(binary_net(tmp_path / "net.onnx"))
    binary = [each for each in found.operators if each.precision == "binary"]
    assert [(each.kernel, each.macs) for each in binary] == [("edgeml", BINARY_MACS)]
    assert not any(each.fallback for each in found.operators)
    assert sum(each.macs or 0 for each in found.operators) == FLOAT_MACS + BINARY_MACS


def test_without_native_kernels_the_body_is_named_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LIBRARY_VARIABLE, "off")
    found = profiled(binary_net(tmp_path / "net.onnx"))
    convolutions = {each.macs: each.fallback for each in found.operators if each.macs}
    assert convolutions == {FLOAT_MACS: None, BINARY_MACS: BODY}
    bodies = {each.operator for each in found.operators if each.fallback == BODY}
    assert {"Less", "Where"} <= bodies


def test_unnamed_nodes_of_the_file_are_not_taken_for_a_body(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LIBRARY_VARIABLE, "off")
    found = profiled(binary_net(tmp_path / "net.onnx", name=""))
    convolutions = {each.macs: each.fallback for each in found.operators if each.macs}
    assert convolutions[FLOAT_MACS] is None


def test_a_loops_own_time_is_without_its_body(tmp_path: Path) -> None:
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["state", "w"], ["next"], name="step"),
            helper.make_node("Identity", ["condition"], ["go_on"], name="again"),
        ],
        "body",
        [
            helper.make_tensor_value_info("index", TensorProto.INT64, []),
            helper.make_tensor_value_info("condition", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state", TensorProto.FLOAT, [64, 64]),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, [64, 64]),
        ],
    )
    nodes = [helper.make_node("Loop", ["trips", "", "x"], ["y"], name="loop", body=body)]
    constants: dict[str, npt.NDArray[Any]] = {"trips": np.asarray(5), "w": np.eye(64, dtype=np.float32)}
    found = profiled(save(tmp_path / "net.onnx", nodes, constants, [64, 64]), batch=64)
    step = next(each for each in found.operators if each.name == "step")
    assert (step.calls, step.macs) == (5, 5 * 64**3)
    assert sum(each.milliseconds for each in found.operators) < 1.5 * found.run_ms


def test_a_large_graph_is_profiled_over_fewer_runs(
    write_conv_net: WriteConvNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgeml.edge_bench.profile.onnxruntime_profile.EVENTS_LIMIT", 50)
    assert 1 <= profiled(write_conv_net(), runs=100).runs < 50


@pytest.mark.slow
@pytest.mark.torch
def test_the_counts_of_a_whole_network_are_the_published_ones(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    command = [sys.executable, "-m", "edgeml.cli.main", "export", "tinynet-e", "--output", str(path), "--static-batch"]
    subprocess.run(command, capture_output=True, check=True)
    # As `edgeml models show tinynet-e` tells, after the paper's definition of the network.
    assert sum(each.macs or 0 for each in profiled(path).operators) == 24_356_848
