"""Operators of residual video, compiled, give numpy's and onnxruntime's codes bit for bit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

from edgeml.compiler.onnx_import import import_onnx
from edgeml.ops.residual import residual_conv
from tests.compiler.lowering.net import Compiled, by_onnxruntime
from tests.ops.residual_cases import STRATEGIES, Array, Case, assert_alike, expected_of, feeds_of, model_of

pytestmark = pytest.mark.tvm

few = settings(
    max_examples=3,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def with_constants(model: onnx.ModelProto, values: Mapping[str, Array]) -> onnx.ModelProto:
    """The model with some of its inputs known."""
    kept = [entry for entry in model.graph.input if entry.name not in values]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in values.items())
    return model


def convolution(generator: np.random.Generator, size: int, channels: int, filters: int, **changes: Any) -> Case:
    """A 3x3 ResidualConv of random codes and a frame that changed everywhere."""
    attributes: dict[str, Any] = {
        "kernel_shape": (3, 3), "pads": (1, 1, 1, 1), "x_zero_point": 3, "y_zero_point": 100, **changes
    }  # fmt: skip
    inputs: dict[str, Array] = {
        "X": generator.integers(0, 256, (1, size, size, channels)).astype(np.uint8),
        "changed": np.ones((1, size, size), np.uint8),
        "W": generator.integers(-128, 128, (filters, channels, 3, 3)).astype(np.int8),
        "multiplier": np.full(filters, 2e-3 / np.sqrt(channels), np.float32),
        "bias": generator.integers(-9999, 9999, filters).astype(np.int32),
        "table": np.arange(256).astype(np.uint8),
        "previous": generator.integers(0, 256, (1, size, size, filters)).astype(np.uint8),
    }
    return residual_conv, inputs, attributes


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_compiled_operator_gives_the_codes_of_numpy(name: str) -> None:
    @few
    @given(case=STRATEGIES[name](), known_maps=st.booleans())
    def agree(case: Case, known_maps: bool) -> None:
        model = model_of(case)
        if known_maps:
            maps = {key: value for key, value in case[1].items() if key.startswith("changed")}
            model = with_constants(model, maps)
        assert_alike(Compiled.of(model).run(feeds_of(model, case)), expected_of(case))

    agree()


def test_sums_that_float32_does_not_hold_are_exact() -> None:
    case = convolution(np.random.default_rng(0), 6, 16, 5)
    case[1]["W"][:] = 127
    case[1]["bias"][:] = (1 << 25) + np.arange(5)
    case[1]["multiplier"][:] = 2e-6
    model = model_of(case)
    compiled = Compiled.of(model)
    assert compiled.kernels == ["general"]
    assert_alike(compiled.run(feeds_of(model, case)), expected_of(case))


def test_a_multiplier_and_a_bias_are_rounded_as_the_operator_says() -> None:
    generator = np.random.default_rng(1)
    case = convolution(generator, 9, 20, 24)
    # So that a sum and half a code's more lie close to a tie: each rounding too much shows.
    case[1]["multiplier"][:] = generator.choice([1 / 96, 1 / 160, 0.1], 24)
    case[1]["X"] //= 16
    case[1]["W"] //= 16
    case[1]["bias"] //= 100
    model = model_of(case)
    compiled = Compiled.of(model)
    assert compiled.kernels == ["convolution"]
    assert_alike(compiled.run(feeds_of(model, case)), expected_of(case))


def test_where_all_is_known_to_change_convolutions_follow_each_other_without_a_change_of_layout() -> None:
    case = convolution(np.random.default_rng(2), 8, 16, 16)
    model = with_constants(model_of(case), {"changed": case[1]["changed"]})
    second = residual_conv.node(
        ["Y", "changed", "W", "multiplier", "bias", "table", "previous"], ["Z", "changed_z"], **case[2]
    )
    model.graph.node.append(second)
    del model.graph.output[:]
    model.graph.output.append(onnx.helper.make_tensor_value_info("Z", onnx.TensorProto.UINT8, [1, 8, 8, 16]))
    names = [
        getattr(getattr(binding.value, "op", None), "name", "")
        for block in import_onnx(model)["main"].body.blocks
        for binding in block.bindings
    ]
    assert names.count("relax.permute_dims") == 3  # to the first, from the first for whoever asks, from the second
    compiled = Compiled.of(model)
    assert compiled.kernels == ["convolution", "convolution"]
    feeds = feeds_of(model, case)
    assert_alike(compiled.run(feeds), by_onnxruntime(model, feeds))


def test_weights_that_are_computed_are_refused_in_one_line() -> None:
    case = convolution(np.random.default_rng(3), 4, 2, 2)
    with pytest.raises(ValueError, match=r"^ResidualConv needs a constant W; it is computed by the graph$"):
        import_onnx(model_of(case, constants=False))


def test_a_previous_output_of_another_size_is_refused_in_one_line() -> None:
    case = convolution(np.random.default_rng(3), 4, 2, 2)
    case[1]["previous"] = np.zeros((1, 5, 4, 2), np.uint8)
    with pytest.raises(ValueError, match=r"^ResidualConv needs a previous of \[1, 4, 4, 2\]; it is \[1, 5, 4, 2\]$"):
        import_onnx(model_of(case))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "roles"),
    [("encoder-decoder", (0, 1)), ("bilinear", (1,)), ("classifier", (1,))],
    ids=lambda each: str(each),
)
def test_a_compiled_network_streams_with_the_codes_of_onnxruntime(
    name: str, roles: tuple[int, ...], tmp_path: Path
) -> None:
    pytest.importorskip("torch")
    from edgeml.export.video.gated import export_gated
    from tests.models.video.networks import calibration, clip, network

    module, shape = network(name)
    files = export_gated(module, calibration(shape), tmp_path / "net")
    models = [onnx.load(files.key), onnx.load(files.residual)]
    compiled = {role: Compiled.of(models[role]) for role in roles}
    assert all("general" not in each.kernels for each in compiled.values())
    states = {entry.name: np.zeros(sizes(entry), np.uint8) for entry in models[0].graph.input[1:]}
    for index, frame in enumerate(clip(shape, 3)):
        role = min(index, 1)
        feeds = {"frame": frame, **states}
        expected = by_onnxruntime(models[role], feeds)
        if role in compiled:
            found = compiled[role].run(feeds)
            np.testing.assert_allclose(found[0], expected[0], rtol=1e-5, atol=1e-5)
            np.testing.assert_allclose(found[-1], expected[-1], rtol=1e-6)
            assert_alike(found[1:-1], expected[1:-1])
        states = dict(zip(states, expected[1:-1], strict=True))


def sizes(value: onnx.ValueInfoProto) -> list[int]:
    return [axis.dim_value for axis in value.type.tensor_type.shape.dim]
