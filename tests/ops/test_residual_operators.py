"""The operators of residual video compute the same by numpy, by onnxruntime and by ONNX's reference, exactly."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from edgeml.compiler.lint.operator_limits import way_round
from edgeml.export.binarizations import binarizations
from edgeml.export.binary_storage import binary_storage
from edgeml.ops.attach import inline_functions
from edgeml.ops.registry import operators
from edgeml.ops.residual import (
    residual_add,
    residual_concat,
    residual_conv,
    residual_pool,
    residual_resize,
    residual_table,
    tile_gate,
)
from edgeml.ops.residual.windows import Windows
from tests.ops.residual_cases import (
    STRATEGIES,
    Array,
    Case,
    assert_alike,
    codes,
    evaluate,
    expected_of,
    model_of,
    run,
)

exactly = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)


@pytest.mark.parametrize("name", STRATEGIES)
def test_numpy_onnxruntime_and_the_reference_of_onnx_agree(name: str) -> None:
    @exactly
    @given(case=STRATEGIES[name](), constants=st.booleans())
    def agree(case: Case, constants: bool) -> None:
        model, expected = model_of(case, constants=constants), expected_of(case)
        assert_alike(run(model, case), expected)
        with np.errstate(all="ignore"):
            assert_alike(evaluate(model, case), expected)

    agree()


@pytest.mark.parametrize("opset", [18, 21, 23])
@pytest.mark.parametrize("name", STRATEGIES)
def test_shapes_are_inferred_through_the_body_and_inlined_bodies_compute_the_same(name: str, opset: int) -> None:
    @settings(exactly, max_examples=2)
    @given(case=STRATEGIES[name]())
    def infer(case: Case) -> None:
        model, expected = model_of(case, opset=opset), expected_of(case)
        onnx.checker.check_model(model, full_check=True)
        inlined = inline_functions(model)
        assert {node.domain for node in inlined.graph.node} == {""}
        for each in (model, inlined):
            inferred = onnx.shape_inference.infer_shapes(each, strict_mode=True, data_prop=True).graph.output
            found = [[size.dim_value for size in value.type.tensor_type.shape.dim] for value in inferred]
            assert found == [list(value.shape) for value in expected]
        assert_alike(run(inlined, case), expected)

    infer()


@pytest.mark.parametrize("name", STRATEGIES)
def test_nothing_changes_where_no_pixel_did_and_all_is_right_where_every_pixel_did(name: str) -> None:
    @exactly
    @given(case=STRATEGIES[name]())
    def still(case: Case) -> None:
        module, inputs, attributes = case
        maps = [key for key in inputs if key.startswith("changed")]
        if maps:
            at_rest = {**inputs, **{key: np.zeros_like(inputs[key]) for key in maps}}
        else:
            at_rest = {**inputs, "X": inputs["previous"]}
        y, changed = expected_of((module, at_rest, attributes))
        assert not changed.any()
        np.testing.assert_array_equal(y, inputs["previous"])
        if "threshold" in attributes:
            attributes = {**attributes, "threshold": 0}
        all_changed = {**inputs, **{key: np.ones_like(inputs[key]) for key in maps}}
        if module is residual_conv:  # a window of padding alone sees no change ever
            geometry = Windows(*(attributes[key] for key in ("kernel_shape", "strides", "pads", "dilations")))
            assume(geometry.changed(all_changed["changed"]).all())
        y, changed = expected_of((module, all_changed, attributes))
        anew = expected_of((module, {**all_changed, "previous": 255 - y}, attributes))
        np.testing.assert_array_equal(y, anew[0])
        np.testing.assert_array_equal(changed, (y != inputs["previous"]).any(axis=-1))
        assert anew[1].all()

    still()


def test_a_stream_at_threshold_0_has_the_codes_of_every_frame_computed_anew() -> None:
    generator = np.random.default_rng(4)
    w = generator.integers(-128, 128, (6, 3, 3, 3)).astype(np.int8)
    parameters = (w, np.full(6, 2e-3, np.float32), np.zeros(6, np.int32), codes(generator, 256))
    conv: dict[str, Any] = {
        "kernel_shape": (3, 3),
        "pads": (1, 1, 1, 1),
        "strides": (2, 2),
        "x_zero_point": 9,
        "y_zero_point": 99,
    }
    pool: dict[str, Any] = {
        "kernel_shape": (3, 3),
        "pads": (1, 1, 1, 1),
        "strides": (2, 2),
        "zero_point": 99,
        "average": 1,
    }

    def steps(x: Array, changed: Array, states: list[Array]) -> tuple[list[Array], list[Array]]:
        first, changed_first = residual_conv.reference(x, changed, *parameters, states[0], **conv)
        second, changed_second = residual_pool.reference(first, changed_first, states[1], **pool)
        third, changed_third = residual_resize.reference(second, changed_second, states[2], factor=4, linear=1)
        return [first, second, third], [changed_first, changed_second, changed_third]

    frame = codes(generator, 1, 37, 43, 3)
    blank = [np.zeros((1, *size), np.uint8) for size in [(19, 22, 6), (10, 11, 6), (40, 44, 6)]]
    gated, (states, _) = frame, steps(frame, np.ones((1, 37, 43), np.uint8), blank)
    for top in (2, 9, 30):
        frame = frame.copy()
        frame[:, top : top + 5, top : top + 3] ^= 3
        gated, changed = tile_gate.reference(frame, gated)
        np.testing.assert_array_equal(gated, frame)
        states, maps = steps(gated, changed, states)
        anew, _ = steps(frame, np.ones_like(changed), blank)
        for found, expected in zip(states, anew, strict=True):
            np.testing.assert_array_equal(found, expected)
        assert 0 < sum(int(each.sum()) for each in maps) < sum(each.size for each in maps) / 2


def test_a_convolution_of_all_tiles_is_onnxruntime_own_convolution_of_codes() -> None:
    generator = np.random.default_rng(5)
    x, w = codes(generator, 2, 13, 11, 12), generator.integers(-127, 128, (8, 6, 3, 3)).astype(np.int8)
    multiplier = (generator.random(8) * 4e-3 + 1e-4).astype(np.float32)
    bias = generator.integers(-9999, 9999, 8).astype(np.int32)
    geometry: dict[str, Any] = {
        "kernel_shape": (3, 3),
        "pads": (1, 0, 2, 1),
        "strides": (2, 1),
        "dilations": (1, 2),
        "group": 2,
    }
    names = ["x", "one", "zx", "w", "scale", "zw", "one", "zy", "bias"]
    constants = {
        "one": np.float32(1), "zx": np.uint8(70), "w": w, "scale": multiplier, "zw": np.zeros(8, np.int8),
        "zy": np.uint8(30), "bias": bias,
    }  # fmt: skip
    nodes = [
        helper.make_node("Transpose", ["X"], ["x"], perm=[0, 3, 1, 2]),
        helper.make_node("QLinearConv", names, ["y"], **geometry),
        helper.make_node("Transpose", ["y"], ["Y"], perm=[0, 2, 3, 1]),
    ]
    graph = helper.make_graph(
        nodes,
        "conv",
        [helper.make_tensor_value_info("X", onnx.TensorProto.UINT8, x.shape)],
        [helper.make_tensor_value_info("Y", onnx.TensorProto.UINT8, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    (expected,) = run(model, (residual_conv, {"X": x}, {}))
    assert 0 < (expected == 0).mean() < 0.5
    y, _ = residual_conv.reference(
        x, np.ones(x.shape[:3], np.uint8), w, multiplier, bias, np.arange(256).astype(np.uint8),
        np.zeros_like(expected), x_zero_point=70, y_zero_point=30, **geometry,
    )  # fmt: skip
    np.testing.assert_array_equal(y, expected)


def everywhere(module: ModuleType, inputs: dict[str, Array], attributes: dict[str, Any], expected: Array) -> None:
    """Asserts the codes where every pixel changed, by numpy and by onnxruntime; the table is the identity."""
    size = next(iter(inputs.values())).shape[:3]
    given = {**inputs, "table": np.arange(256).astype(np.uint8), "previous": 255 - expected}
    case = module, {name: given.get(name, np.ones(size, np.uint8)) for name in module.SIGNATURE.inputs}, attributes
    np.testing.assert_array_equal(expected_of(case)[0], expected)
    assert_alike(run(model_of(case), case), expected_of(case))


def row(*values: int) -> Array:
    """Codes (1, 1, pixels, 1)."""
    return np.array(values, np.uint8)[None, None, :, None]


@pytest.mark.parametrize(
    ("multiplier", "expected"),
    [
        (0.5, row(36, 98, 99, 100, 100, 100, 102, 164)),
        (-2.5, row(255, 108, 105, 100, 98, 102, 92, 0)),
        (3e38, row(0, 0, 0, 100, 255, 0, 255, 255)),
    ],
)
def test_a_convolution_rounds_halves_to_even_and_saturates(multiplier: float, expected: Array) -> None:
    inputs = {
        "X": row(0, 125, 126, 128, 129, 127, 131, 255), "W": np.ones((1, 1, 1, 1), np.int8),
        "bias": np.zeros(1, np.int32), "multiplier": np.array([multiplier], np.float32),
    }  # fmt: skip
    everywhere(residual_conv, inputs, {"kernel_shape": (1, 1), "x_zero_point": 128, "y_zero_point": 100}, expected)


def test_products_of_a_sum_are_rounded_before_they_are_added() -> None:
    # 25 * float32(0.1) rounds to 2.5; less 2 that is a half, to even 0. Fused it would be more than a half.
    attributes = {"a_multiplier": 0.1, "b_multiplier": 1.0, "a_zero_point": 0, "b_zero_point": 2, "y_zero_point": 10}
    everywhere(residual_add, {"A": row(25, 255, 0), "B": row(0, 255, 0)}, attributes, row(10, 255, 8))


def test_a_mean_is_the_sum_times_a_rounded_reciprocal() -> None:
    # The sum is -254.5 * 14; a division would give the half, which is rounded to even.
    x = np.zeros((1, 2, 7, 1), np.uint8)
    x[0, 0, 0] = 7
    everywhere(residual_pool, {"X": x}, {"kernel_shape": (2, 7), "average": 1, "zero_point": 255}, row(0))


def test_a_tile_passes_only_above_the_threshold() -> None:
    previous = np.full((1, 6, 6, 2), 100, np.uint8)
    x = previous.copy()
    x[0, 1, 1, 0], x[0, 5, 1, 1], x[0, 5, 5, 0] = 103, 96, 104  # in a tile of 4x4, of 2x4 and of 2x2 pixels
    for threshold, rms, passed in [
        (47, 0, 3), (48, 0, 2), (63, 0, 2), (64, 0, 0), (8, 1, 3), (9, 1, 2), (15, 1, 2), (16, 1, 1), (22, 1, 1),
        (23, 1, 0),
    ]:  # fmt: skip
        y, changed = tile_gate.reference(x, previous, tile=4, threshold=threshold, rms=rms)
        assert changed.sum() == passed, (threshold, rms)
        assert ((y != previous).any(axis=-1) == changed).all()


@pytest.mark.parametrize(
    ("module", "required", "size"),
    [
        (tile_gate, {}, (19, 10, 4)),
        (residual_conv, {"kernel_shape": (2, 3), "x_zero_point": 7, "y_zero_point": 50}, (18, 8, 5)),
        (residual_pool, {"kernel_shape": (2, 3), "zero_point": 7}, (18, 8, 4)),
        (residual_resize, {"factor": 2}, (38, 20, 4)),
    ],
)
def test_attributes_left_out_are_the_defaults(
    module: ModuleType, required: dict[str, Any], size: tuple[int, int, int]
) -> None:
    generator = np.random.default_rng(6)
    given = {
        "X": codes(generator, 1, 19, 10, 4), "changed": (generator.random((1, 19, 10)) < 0.02).astype(np.uint8),
        "W": generator.integers(-128, 128, (5, 4, 2, 3)).astype(np.int8), "table": codes(generator, 256),
        "multiplier": np.full(5, 1e-3, np.float32), "bias": np.zeros(5, np.int32),
        "previous": codes(generator, 1, *size),
    }  # fmt: skip
    case = module, {name: given[name] for name in module.SIGNATURE.inputs}, required
    model = model_of(case)
    [node] = model.graph.node
    stated = {entry.name for entry in node.attribute}
    assert stated == {*module.SIGNATURE.required, *module.SIGNATURE.defaults}
    kept = [entry for entry in node.attribute if entry.name in module.SIGNATURE.required]
    del node.attribute[:]
    node.attribute.extend(kept)
    onnx.checker.check_model(model, full_check=True)
    assert_alike(run(model, case), expected_of(case))


def test_references_refuse_shapes_that_do_not_fit() -> None:
    x, changed, table = np.zeros((1, 4, 4, 2), np.uint8), np.ones((1, 4, 4), np.uint8), np.zeros(256, np.uint8)
    scale, bias = np.ones(2, np.float32), np.zeros(2, np.int32)
    zero_points: dict[str, Any] = {"x_zero_point": 0, "y_zero_point": 0}
    with pytest.raises(ValueError, match="previous frame"):
        tile_gate.reference(x, x[:, :3])
    with pytest.raises(ValueError, match="tiles of 0 pixels"):
        tile_gate.reference(x, x, tile=0)
    with pytest.raises(ValueError, match="a pixel map of"):
        residual_table.reference(x, changed[:, :3], table, x)
    with pytest.raises(ValueError, match="a previous output of"):
        residual_resize.reference(x, changed, x, factor=2)
    with pytest.raises(ValueError, match="linear takes 2 or 4"):
        residual_resize.reference(x, changed, x, factor=3, linear=1)
    with pytest.raises(ValueError, match="not smaller than windows"):
        residual_pool.reference(x, changed, x, kernel_shape=(2, 2), pads=(2, 0, 0, 0), zero_point=0)
    with pytest.raises(ValueError, match="to join"):
        residual_concat.reference(x, changed, x[:, :3], changed, table, table, x)
    w = np.zeros((2, 1, 5, 5), np.int8)
    with pytest.raises(ValueError, match="does not fit an image"):
        residual_conv.reference(x, changed, w, scale, bias, table, x, kernel_shape=(5, 5), group=2, **zero_points)
    with pytest.raises(ValueError, match="filters of"):
        residual_conv.reference(x, changed, w, scale, bias, table, x, kernel_shape=(5, 5), pads=(2,) * 4, **zero_points)
    with pytest.raises(ValueError, match="which int32 does not hold"):
        residual_conv.reference(
            x, changed, np.ones((2, 2, 1, 1), np.int8), scale, bias + np.iinfo(np.int32).min, table, x,
            kernel_shape=(1, 1), x_zero_point=1, y_zero_point=0,
        )  # fmt: skip


def test_names_of_operators_load_no_onnx() -> None:
    program = (
        "import sys; from edgeml.ops.registry import operators; print(*operators()); assert 'onnx' not in sys.modules"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert set(STRATEGIES) == set(found) - {"BinaryConv", "BinaryDense", "TreeBinaryConv"}
    assert set(found) == set(operators())


def test_a_model_of_such_operators_has_no_binary_layers() -> None:
    inputs = {
        "X": row(1),
        "changed": np.ones((1, 1, 1), np.uint8),
        "table": np.zeros(256, np.uint8),
        "previous": row(2),
    }
    model = model_of((residual_table, inputs, {}))
    assert binary_storage(model) is None
    assert binarizations(model) == ()
    assert way_round(model.graph.node[0]) == "run this model with onnxruntime"
