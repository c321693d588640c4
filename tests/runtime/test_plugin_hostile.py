"""Every way in which a node of edgeml's own or its tensors can be wrong is an onnxruntime error, never a crash."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest

Model = Callable[..., onnx.ModelProto]
Open = Callable[..., onnxruntime.InferenceSession]
Weights = Callable[[int, int, int], dict[str, npt.NDArray[Any]]]
Refusal = Callable[[onnx.ModelProto, dict[str, npt.NDArray[Any]]], str]

CONV: dict[str, Any] = {"kernel_shape": (3, 2), "channels": 6, "group": 2, "strides": (2, 1), "pads": (1, 0, 2, 1)}
IMAGE = np.random.default_rng(0).standard_normal((2, 6, 9, 7)).astype(np.float32)


@pytest.fixture
def refusal(open_natively: Open) -> Refusal:
    """What onnxruntime says of a model that it must neither load and run nor crash on."""

    def said(model: onnx.ModelProto, feeds: dict[str, npt.NDArray[Any]]) -> str:
        with pytest.raises(Exception, match=r"\[ONNXRuntimeError\]") as caught:
            open_natively(model).run(None, feeds)
        return str(caught.value)

    return said


@pytest.mark.parametrize(
    ("shape", "told"),
    [
        ((), r"X has shape \(\); it takes \(batch, 6, height, width\)"),
        ((6,), r"X has shape \(6,\)"),
        ((6, 9, 7), r"X has shape \(6, 9, 7\)"),
        ((1, 6, 9, 7, 1), r"X has shape \(1, 6, 9, 7, 1\)"),
        ((1, 5, 9, 7), r"X has shape \(1, 5, 9, 7\)"),
        ((1, 6, 0, 7), "at least one row and column"),
        ((1, 6, 7, 0), "at least one row and column"),
        ((1, 0, 7, 7), r"X has shape \(1, 0, 7, 7\)"),
    ],
)
def test_an_image_of_another_shape_is_refused(
    one_node_model: Model, shape: tuple[int, ...], told: str, binary_weights: Weights, refusal: Refusal
) -> None:
    model = one_node_model("BinaryConv", binary_weights(10, 18, 6), **CONV)
    assert_told(refusal(model, {"X": np.zeros(shape, np.float32)}), told)


def test_an_image_smaller_than_the_kernel_is_refused(
    one_node_model: Model, binary_weights: Weights, refusal: Refusal
) -> None:
    model = one_node_model("BinaryConv", binary_weights(10, 54, 6), kernel_shape=(3, 3), channels=6)
    assert_told(refusal(model, {"X": np.zeros((1, 6, 2, 9), np.float32)}), "smaller than the kernel")


@pytest.mark.parametrize("value", [np.float64, np.float16, np.int32, np.uint8])
def test_an_image_of_another_type_is_refused(
    one_node_model: Model, value: type[np.generic], binary_weights: Weights, refusal: Refusal
) -> None:
    model = one_node_model("BinaryConv", binary_weights(10, 18, 6), fed={"X": value}, **CONV)
    assert_told(refusal(model, {"X": IMAGE.astype(value)}), "X|type")


WRONG_ATTRIBUTES: list[tuple[dict[str, Any], str]] = [
    ({"kernel_shape": (3,)}, "kernel_shape has 1 values; it takes 2"),
    ({"kernel_shape": (3, 2, 1)}, "kernel_shape has 3 values"),
    ({"kernel_shape": (0, 2)}, "kernel"),
    ({"kernel_shape": (-3, -2)}, "kernel"),
    ({"kernel_shape": (2**31, 2**31)}, "kernel"),
    ({"kernel_shape": (2**62, 4)}, "kernel"),
    ({"kernel_shape": 3}, "kernel_shape has 0 values"),
    ({"kernel_shape": "3x2"}, "kernel_shape has 0 values"),
    ({"kernel_shape": None}, "attribute kernel_shape, a list of integers"),
    ({"channels": None}, "attribute channels, an integer"),
    ({"channels": 6.0}, "attribute channels, an integer"),
    ({"channels": 0}, "channels"),
    ({"channels": -6}, "channels"),
    ({"channels": 2**62}, "channels"),
    ({"channels": 8}, "W has shape|threshold has shape"),
    ({"group": 0}, "group"),
    ({"group": -2}, "group"),
    ({"group": 4}, "group"),
    ({"group": 2**62}, "group"),
    ({"group": (2,)}, "attribute group, an integer"),
    ({"strides": (0, 1)}, "stride"),
    ({"strides": (1, -1)}, "stride"),
    ({"strides": (2**62, 1)}, "stride"),
    ({"strides": ()}, "strides has 0 values"),
    ({"dilations": (0, 1)}, "dilation"),
    ({"dilations": (1, -(2**62))}, "dilation"),
    ({"dilations": (2**40, 2**40)}, "dilation"),
    ({"pads": (1, 1)}, "pads has 2 values"),
    ({"pads": (-1, 0, 0, 0)}, "pad"),
    ({"pads": (0, 0, 0, 2**62)}, "pad"),
    ({"pads": (2**15, 2**15, 2**15, 2**15), "strides": (1, 1)}, "more than 2147483648 elements|pad"),
]


@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize(("wrong", "told"), WRONG_ATTRIBUTES)
def test_wrong_attributes_are_refused(
    one_node_model: Model, constant: bool, wrong: dict[str, Any], told: str, binary_weights: Weights, refusal: Refusal
) -> None:
    values = binary_weights(10, 18, 6)
    attributes = {name: value for name, value in (CONV | wrong).items() if value is not None and value != ()}
    if constant:
        model, feeds = one_node_model("BinaryConv", values, **attributes), {}
    else:
        fed = {"X": np.float32} | {name: value.dtype.type for name, value in values.items()}
        model, feeds = one_node_model("BinaryConv", {}, fed=fed, **attributes), values
    if () in wrong.values():
        model.graph.node[0].attribute.append(
            onnx.helper.make_attribute("strides", (), attr_type=onnx.AttributeProto.INTS)
        )
    assert_told(refusal(model, {"X": IMAGE} | feeds), told)


WRONG_WEIGHTS: list[tuple[str, npt.NDArray[Any], str]] = [
    ("W", np.zeros(30, np.uint8), r"W has shape \(30,\); it takes two axes"),
    ("W", np.zeros((), np.uint8), r"W has shape \(\)"),
    ("W", np.zeros((10, 3, 1), np.uint8), r"W has shape \(10, 3, 1\)"),
    ("W", np.zeros((10, 2), np.uint8), r"W has shape \(10, 2\); .* ask for \(10, 3\)"),
    ("W", np.zeros((10, 4), np.uint8), r"W has shape \(10, 4\)"),
    ("W", np.zeros((0, 3), np.uint8), "the number of filters is 0"),
    ("W", np.zeros((9, 3), np.uint8), "the number of filters is 9"),
    ("W", np.zeros((12, 3), np.uint8), r"scale has shape \(10,\); .* ask for \(12,\)"),
    ("W", np.zeros((10, 3), np.int8), "Type Error|W is not uint8"),
    ("W", np.zeros((10, 3), np.float32), "Type Error|W is not uint8"),
    ("threshold", np.zeros(5, np.float32), r"threshold has shape \(5,\)"),
    ("threshold", np.zeros((), np.float32), r"threshold has shape \(\)"),
    ("threshold", np.zeros((6, 1), np.float32), r"threshold has shape \(6, 1\)"),
    ("threshold", np.zeros(6, np.float64), "Type Error|threshold is not float32"),
    ("scale", np.zeros(1, np.float32), r"scale has shape \(1,\)"),
    ("scale", np.zeros(0, np.float32), r"scale has shape \(0,\)"),
    ("bias", np.zeros((1, 10), np.float32), r"bias has shape \(1, 10\)"),
    ("bias", np.zeros(10, np.float16), "Type Error|bias is not float32"),
]


@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize(("name", "value", "told"), WRONG_WEIGHTS)
def test_wrong_weights_are_refused(
    one_node_model: Model,
    constant: bool,
    name: str,
    value: npt.NDArray[Any],
    told: str,
    binary_weights: Weights,
    refusal: Refusal,
) -> None:
    values = binary_weights(10, 18, 6) | {name: value}
    if constant:
        model, feeds = one_node_model("BinaryConv", values, **CONV), {}
    else:
        fed = {"X": np.float32} | {each: found.dtype.type for each, found in values.items()}
        model, feeds = one_node_model("BinaryConv", {}, fed=fed, **CONV), values
    assert_told(refusal(model, {"X": IMAGE} | feeds), told)


@pytest.mark.parametrize("inputs", [["X"], ["X", "W", "threshold", "scale"], ["X", "", "threshold", "scale", "bias"]])
def test_absent_inputs_are_refused(
    one_node_model: Model, inputs: list[str], binary_weights: Weights, refusal: Refusal
) -> None:
    model = one_node_model("BinaryConv", binary_weights(10, 18, 6), **CONV)
    model.graph.node[0].input[:] = inputs
    refusal(model, {"X": IMAGE})


def test_more_inputs_and_outputs_than_the_operator_has_are_refused(
    one_node_model: Model, binary_weights: Weights, refusal: Refusal
) -> None:
    values = binary_weights(10, 18, 6)
    refusal(one_node_model("BinaryConv", values | {"more": np.zeros(1, np.float32)}, **CONV), {"X": IMAGE})
    refusal(one_node_model("BinaryConv", values, outputs=2, **CONV), {"X": IMAGE})


@pytest.mark.parametrize(
    ("shape", "attributes", "told"),
    [
        ((), {"features": 11}, "its last axis takes 11 features"),
        ((2, 10), {"features": 11}, r"X has shape \(2, 10\)"),
        ((11, 0), {"features": 11}, r"X has shape \(11, 0\)"),
        ((2, 11), {}, "attribute features, an integer"),
        ((2, 11), {"features": 0}, "channels is 0"),
        ((2, 11), {"features": 2**62}, "channels is"),
        ((2, 11), {"features": (11,)}, "attribute features, an integer"),
        ((2, 12), {"features": 12}, "threshold has shape"),
    ],
)
def test_wrong_dense_nodes_are_refused(
    one_node_model: Model,
    shape: tuple[int, ...],
    attributes: dict[str, Any],
    told: str,
    binary_weights: Weights,
    refusal: Refusal,
) -> None:
    model = one_node_model("BinaryDense", binary_weights(9, 11, 11), **attributes)
    assert_told(refusal(model, {"X": np.zeros(shape, np.float32)}), told)


@pytest.mark.skipif("libasan" in os.environ.get("LD_PRELOAD", ""), reason="AddressSanitizer itself takes more memory")
def test_an_output_larger_than_memory_is_an_error_and_no_crash(
    one_node_model: Model, tmp_path: Path, binary_weights: Weights
) -> None:
    path = tmp_path / "large.onnx"
    asked = {"kernel_shape": (1, 1), "channels": 1, "pads": (0, 20_000, 20_000, 20_000)}
    onnx.save(one_node_model("BinaryConv", binary_weights(2, 1, 1), **asked), path)
    program = (
        "import resource, sys, numpy as np, onnxruntime\n"
        "from edgeml.runtime.plugin.registration import register_plugin\n"
        "settings = onnxruntime.SessionOptions()\n"
        "settings.log_severity_level = 4\n"
        "settings.intra_op_num_threads = 1\n"
        "register_plugin(settings, threads=1)\n"
        "session = onnxruntime.InferenceSession(sys.argv[1], settings)\n"
        "resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))\n"
        "try:\n"
        "    session.run(None, {'X': np.zeros((1, 1, 1, 1), np.float32)})\n"
        "except Exception as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Failed to allocate memory" in done.stdout


def assert_told(message: str, pattern: str) -> None:
    assert re.search(pattern, message), message
