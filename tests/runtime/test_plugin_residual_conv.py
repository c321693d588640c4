"""ResidualConv inside onnxruntime gives numpy's codes and pixel map; nodes and tensors that are wrong are errors."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from edgeml.core.errors import EdgeMLError
from edgeml.ops.domain import DOMAIN, VERSION
from edgeml.ops.residual.residual_conv import reference
from edgeml.runtime.plugin.library import load_plugin

Tensor = npt.NDArray[Any]
Open = Callable[..., onnxruntime.InferenceSession]

try:
    KERNELS = load_plugin().kernels
except EdgeMLError:  # the tests tell why
    KERNELS = ("scalar",)

INPUTS = ("X", "changed", "W", "multiplier", "bias", "table", "previous")
LAYER = ("W", "multiplier", "bias", "table")
ATTRIBUTES: dict[str, Any] = {
    "kernel_shape": (3, 2),
    "group": 2,
    "strides": (2, 1),
    "pads": (1, 0, 2, 1),
    "dilations": (1, 2),
    "x_zero_point": 9,
    "y_zero_point": 130,
    "tile": 4,
    "threshold": 20,
}


def tensors(*, seed: int = 0) -> dict[str, Tensor]:
    """Inputs of a node with ATTRIBUTES: 6 channels, 10 filters."""
    generator = np.random.default_rng(seed)

    def codes(*shape: int) -> Tensor:
        return generator.integers(0, 256, shape, np.uint8)

    values = {
        "X": codes(2, 21, 30, 6),
        "changed": (generator.random((2, 21, 30)) < 0.02).astype(np.uint8),
        "W": generator.integers(-128, 128, (10, 3, 3, 2), np.int8),
        "multiplier": generator.uniform(1e-4, 2e-3, 10).astype(np.float32),
        "bias": generator.integers(-999, 999, 10).astype(np.int32),
        "table": codes(256),
        "previous": codes(2, 11, 29, 10),
    }
    everywhere = ATTRIBUTES | {"threshold": 0}
    fresh, _ = reference(*(values | {"changed": np.ones_like(values["changed"])}).values(), **everywhere)
    nearly = np.where(generator.random(fresh.shape) < 0.01, values["previous"], fresh)
    return values | {"previous": nearly}


def model_of(
    values: dict[str, Tensor], attributes: dict[str, Any], *, constant: tuple[str, ...] = LAYER
) -> onnx.ModelProto:
    """The node alone, without its function body; `constant` names the inputs that the model holds."""
    kept = {name: value for name, value in attributes.items() if value is not None}
    node = helper.make_node("ResidualConv", list(values), ["Y", "changed_out"], domain=DOMAIN, **kept)
    graph = helper.make_graph(
        [node],
        "one node",
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), None)
            for name, value in values.items()
            if name not in constant
        ],
        [helper.make_tensor_value_info(name, onnx.TensorProto.UINT8, None) for name in ("Y", "changed_out")],
        [numpy_helper.from_array(values[name], name) for name in constant],
    )
    imports = [helper.make_opsetid("", 18), helper.make_opsetid(DOMAIN, VERSION)]
    return helper.make_model(graph, opset_imports=imports, ir_version=10)


def fed(values: dict[str, Tensor], constant: tuple[str, ...] = LAYER) -> dict[str, Tensor]:
    return {name: value for name, value in values.items() if name not in constant}


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("constant", [LAYER, (), ("W", "table")])
@pytest.mark.parametrize("threshold", [0, 20])
def test_codes_and_map_are_numpys(
    monkeypatch: pytest.MonkeyPatch,
    kernel: str,
    threads: int,
    constant: tuple[str, ...],
    threshold: int,
    open_natively: Open,
) -> None:
    monkeypatch.setenv("EDGEML_KERNEL", kernel)
    values, attributes = tensors(), ATTRIBUTES | {"threshold": threshold}
    session = open_natively(model_of(values, attributes, constant=constant), threads=threads)
    right = reference(*values.values(), **attributes)
    for found, expected in zip(session.run(None, fed(values, constant)), right, strict=True):
        np.testing.assert_array_equal(found, expected)
    assert 0 < right[1].mean() < 1


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_output_may_take_the_memory_of_the_previous_one(
    monkeypatch: pytest.MonkeyPatch, kernel: str, open_natively: Open
) -> None:
    monkeypatch.setenv("EDGEML_KERNEL", kernel)
    values = tensors(seed=1)
    session = open_natively(model_of(values, ATTRIBUTES), threads=2)
    y = onnxruntime.OrtValue.ortvalue_from_numpy(values["previous"].copy())
    binding = session.io_binding()
    for name in ("X", "changed"):
        binding.bind_cpu_input(name, values[name])
    binding.bind_ortvalue_input("previous", y)
    binding.bind_ortvalue_output("Y", y)
    binding.bind_output("changed_out")
    session.run_with_iobinding(binding)
    right = reference(*values.values(), **ATTRIBUTES)
    np.testing.assert_array_equal(y.numpy(), right[0])
    np.testing.assert_array_equal(binding.get_outputs()[1].numpy(), right[1])


def test_attributes_that_a_node_leaves_out_are_as_in_conv(open_natively: Open) -> None:
    values = tensors()
    short: dict[str, Any] = {"kernel_shape": (3, 2), "x_zero_point": 1, "y_zero_point": 2}
    values["W"] = np.concatenate([values["W"], values["W"]], axis=1)
    values["previous"] = np.zeros((2, 19, 29, 10), np.uint8)
    found = open_natively(model_of(values, short)).run(None, fed(values))
    for value, right in zip(found, reference(*values.values(), **short), strict=True):
        np.testing.assert_array_equal(value, right)


def test_a_batch_of_none_gives_none(open_natively: Open) -> None:
    values = tensors()
    empty = values | {name: values[name][:0] for name in ("X", "changed", "previous")}
    found = open_natively(model_of(values, ATTRIBUTES)).run(None, fed(empty))
    assert [value.shape for value in found] == [(0, 11, 29, 10), (0, 11, 29)]


def test_layers_of_other_sizes_follow_each_other(open_natively: Open) -> None:
    values = tensors()
    session = open_natively(model_of(values, ATTRIBUTES))
    for height in (21, 7, 21):
        cut = values | {"X": values["X"][:, :height], "changed": np.ones((2, height, 30), np.uint8)}
        cut["previous"] = values["previous"][:, : (height + 1) // 2]
        for value, right in zip(session.run(None, fed(cut)), reference(*cut.values(), **ATTRIBUTES), strict=True):
            np.testing.assert_array_equal(value, right)


WRONG_ATTRIBUTES: list[tuple[dict[str, Any], str]] = [
    ({"kernel_shape": None}, "attribute kernel_shape, a list of integers"),
    ({"kernel_shape": (3,)}, "kernel_shape has 1 values; it takes 2"),
    ({"kernel_shape": (3, 3)}, r"W has shape \(10, 3, 3, 2\); .* ask for \(10, 3, 3, 3\)"),
    ({"kernel_shape": (0, 2)}, "kernel_shape is 0"),
    ({"kernel_shape": (2**62, 4)}, "kernel_shape is"),
    ({"kernel_shape": 3}, "kernel_shape has 0 values"),
    ({"group": 0}, "group is 0"),
    ({"group": -2}, "group is -2"),
    ({"group": 4}, "the number of filters is 10; it must be a multiple of group"),
    ({"group": 2**62}, "group is|channels is"),
    ({"group": (2,)}, "attribute group, an integer"),
    ({"group": 5}, r"X has shape \(2, 21, 30, 6\); it takes \(batch, height, width, 15\)"),
    ({"strides": (0, 1)}, "strides is 0"),
    ({"strides": (1, -(2**63))}, "strides is"),
    ({"dilations": (1, 0)}, "dilations is 0"),
    ({"dilations": (2**40, 1)}, "dilations is"),
    ({"dilations": (20, 1)}, "smaller than the kernel"),
    ({"pads": (1, 1)}, "pads has 2 values"),
    ({"pads": (-1, 0, 0, 0)}, "pads is -1"),
    ({"pads": (0, 0, 0, 2**62)}, "pads is"),
    ({"pads": (2**15, 2**15, 2**15, 2**15)}, "previous has shape"),
    ({"x_zero_point": None}, "attribute x_zero_point, an integer"),
    ({"x_zero_point": -1}, "x_zero_point is -1; allowed are 0 to 255"),
    ({"y_zero_point": None}, "attribute y_zero_point, an integer"),
    ({"y_zero_point": 2**32}, "y_zero_point is 4294967296"),
    ({"tile": 0}, "tile is 0; it must be at least 1"),
    ({"tile": -(2**63)}, "tile is"),
    ({"tile": 8.0}, "attribute tile, an integer"),
    ({"threshold": -1}, "threshold is -1; it must be at least 0"),
]


@pytest.mark.parametrize("constant", [LAYER, ()])
@pytest.mark.parametrize(("wrong", "told"), WRONG_ATTRIBUTES)
def test_wrong_attributes_are_refused(
    constant: tuple[str, ...], wrong: dict[str, Any], told: str, open_natively: Open
) -> None:
    values = tensors()
    assert_refused(open_natively, model_of(values, ATTRIBUTES | wrong, constant=constant), fed(values, constant), told)


def test_tiles_and_thresholds_larger_than_any_image_are_allowed(open_natively: Open) -> None:
    values = tensors()
    for huge in ({"tile": 2**62}, {"threshold": 2**62}):
        found = open_natively(model_of(values, ATTRIBUTES | huge)).run(None, fed(values))
        expected = {"tile": 32} if "tile" in huge else {"threshold": 4080}
        for value, right in zip(found, reference(*values.values(), **ATTRIBUTES | expected), strict=True):
            np.testing.assert_array_equal(value, right)


WRONG_INPUTS: list[tuple[str, Tensor, str]] = [
    ("W", np.zeros((), np.int8), r"W has shape \(\); it takes four axes"),
    ("W", np.zeros((10, 18), np.int8), r"W has shape \(10, 18\)"),
    ("W", np.zeros((0, 3, 3, 2), np.int8), "the number of filters is 0"),
    ("W", np.zeros((10, 0, 3, 2), np.int8), "channels is 0"),
    ("W", np.zeros((10, 3, 2, 3), np.int8), r"W has shape \(10, 3, 2, 3\)"),
    ("W", np.zeros((9, 3, 3, 2), np.int8), "the number of filters is 9"),
    ("W", np.zeros((10, 3, 3, 2), np.uint8), "Type Error|W is not int8"),
    ("multiplier", np.zeros(9, np.float32), r"multiplier has shape \(9,\)"),
    ("multiplier", np.zeros((), np.float32), r"multiplier has shape \(\)"),
    ("multiplier", np.zeros(10, np.float64), "Type Error|multiplier is not float32"),
    ("multiplier", np.full(10, np.nan, np.float32), "multiplier holds a value that is not finite"),
    ("bias", np.zeros((1, 10), np.int32), r"bias has shape \(1, 10\)"),
    ("bias", np.zeros(10, np.int64), "Type Error|bias is not int32"),
    ("table", np.zeros(255, np.uint8), r"table has shape \(255,\)"),
    ("table", np.zeros(256, np.int8), "Type Error|table is not uint8"),
    ("X", np.zeros((2, 21, 30), np.uint8), r"X has shape \(2, 21, 30\)"),
    ("X", np.zeros((2, 21, 30, 5), np.uint8), r"X has shape \(2, 21, 30, 5\); it takes \(batch, height, width, 6\)"),
    ("X", np.zeros((2, 0, 30, 6), np.uint8), "at least one row"),
    ("X", np.zeros((2, 21, 30, 6), np.int8), "Type Error|X is not uint8|type"),
    ("changed", np.zeros((2, 21, 30, 1), np.uint8), r"changed has shape \(2, 21, 30, 1\)"),
    ("changed", np.zeros((2, 30, 21), np.uint8), r"changed has shape \(2, 30, 21\)"),
    ("previous", np.zeros((2, 11, 29, 9), np.uint8), r"previous has shape \(2, 11, 29, 9\)"),
    ("previous", np.zeros((1, 11, 29, 10), np.uint8), r"previous has shape \(1, 11, 29, 10\)"),
]


@pytest.mark.parametrize("constant", [LAYER, ()])
@pytest.mark.parametrize(("name", "value", "told"), WRONG_INPUTS)
def test_wrong_inputs_are_refused(
    constant: tuple[str, ...], name: str, value: Tensor, told: str, open_natively: Open
) -> None:
    values = tensors() | {name: value}
    assert_refused(open_natively, model_of(values, ATTRIBUTES, constant=constant), fed(values, constant), told)


def test_absent_inputs_are_refused(open_natively: Open) -> None:
    values = tensors()
    for inputs in (INPUTS[:-1], (*INPUTS[:2], "", *INPUTS[3:]), (*INPUTS, "previous")):
        model = model_of(values, ATTRIBUTES)
        model.graph.node[0].input[:] = inputs
        assert_refused(open_natively, model, fed(values), "")


def assert_refused(open_natively: Open, model: onnx.ModelProto, feeds: dict[str, Tensor], told: str) -> None:
    with pytest.raises(Exception, match=r"\[ONNXRuntimeError\]") as caught:
        open_natively(model).run(None, feeds)
    assert re.search(told, str(caught.value)), str(caught.value)
