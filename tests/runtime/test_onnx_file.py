from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from edgeml.core.artifact import sha256_file
from edgeml.core.errors import CheckFailedError, EdgeMLError, UsageError
from edgeml.core.tensor_spec import TensorSpec
from edgeml.runtime.onnx_file import open_artifact


def test_a_file_without_a_manifest_is_described_from_its_graph(write_conv_net: Callable[..., Path]) -> None:
    path = write_conv_net("made-elsewhere.onnx")
    artifact = open_artifact(path)
    assert artifact.model == "made-elsewhere"
    assert artifact.precision == "fp32"
    assert artifact.inputs == (TensorSpec("image", ("batch", 1, 8, 8), "float32"),)
    assert artifact.outputs == (TensorSpec("logits", ("batch", 10), "float32"),)
    assert artifact.sha256 == sha256_file(path)


def test_a_manifest_is_believed_while_the_digest_holds(write_conv_net: Callable[..., Path]) -> None:
    path = write_conv_net()
    known = replace(open_artifact(path), model="tinynet-e", precision="int8")
    known.save_manifest()
    assert open_artifact(path) == known
    write_conv_net(seed=1)
    with pytest.raises(CheckFailedError):
        open_artifact(path)


def save(path: Path, node: onnx.NodeProto, dtype: int, weights: list[np.ndarray] | None = None) -> Path:
    x = helper.make_tensor_value_info("x", dtype, [None, 2])
    y = helper.make_tensor_value_info("y", onnx.TensorProto.UINT8 if node.op_type == "QuantizeLinear" else dtype, None)
    stored = [numpy_helper.from_array(value, f"w{index}") for index, value in enumerate(weights or [])]
    graph = helper.make_graph([node], "g", [x], [y], stored)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def test_precision_is_guessed_from_operators_and_weights(tmp_path: Path) -> None:
    quantize = helper.make_node("QuantizeLinear", ["x", "w0"], ["y"])
    scale = [np.array(0.1, np.float32)]
    assert open_artifact(save(tmp_path / "q.onnx", quantize, onnx.TensorProto.FLOAT, scale)).precision == "int8"
    add = helper.make_node("Add", ["x", "w0"], ["y"])
    half = [np.ones(2, np.float16)]
    artifact = open_artifact(save(tmp_path / "h.onnx", add, onnx.TensorProto.FLOAT16, half))
    assert artifact.precision == "fp16"
    assert artifact.inputs == (TensorSpec("x", ("x_axis0", 2), "float16"),)


def test_what_is_no_model_file_gives_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no model file"):
        open_artifact(tmp_path / "missing.onnx")
    text = tmp_path / "notes.txt"
    text.write_text("hello")
    with pytest.raises(UsageError, match="have a manifest"):
        open_artifact(text)
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"\xff" * 64)
    with pytest.raises(EdgeMLError) as caught:
        open_artifact(broken)
    assert "\n" not in str(caught.value)
