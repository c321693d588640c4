from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from edgeml.core.errors import UsageError
from edgeml.core.parity import sqnr_db
from edgeml.models.video.execute import run
from edgeml.models.video.quantize import quantize
from edgeml.models.video.quantized import IDENTITY, CodeConcat, CodeConv, CodeGraph, CodeTable, Gate
from edgeml.models.video.ranges import METHODS, CodeRange, Method, calibrate, least_square
from edgeml.models.video.reference import key_frame, residual_frame
from edgeml.models.video.trace import trace
from tests.models.video.networks import NETWORKS, RANDOM_SHAPE, Shape, calibration, clip, network, random_network


def assert_exact(graph: CodeGraph, shape: Shape, frames: int, seed: int = 0) -> list[float]:
    """That every frame computed from what changed equals the frame computed whole; the mean activity of each."""
    first, *rest = clip(shape, frames, seed)
    states = key_frame(graph, first).states
    activities = []
    for frame in rest:
        found, expected = residual_frame(graph, frame, states), key_frame(graph, frame)
        for name, codes in expected.states.items():
            np.testing.assert_array_equal(found.states[name], codes, name)
            changed = (codes != states[name]).any(axis=-1)
            np.testing.assert_array_equal(found.changed[name], changed, name)
        np.testing.assert_array_equal(found.output, expected.output)
        states = found.states
        activities.append(float(found.activity.mean()))
    return activities


@pytest.mark.parametrize("name", NETWORKS)
def test_without_thresholds_each_frame_is_what_it_would_be_by_itself(name: str) -> None:
    module, shape = network(name)
    activities = assert_exact(quantize(trace(module, shape), calibration(shape)), shape, 4)
    assert activities[1] == 0, "a frame like the one before costs nothing"
    assert 0 < activities[0] < 1


@given(seed=st.integers(0, 2**20), length=st.integers(1, 8), classifier=st.booleans())
@settings(max_examples=10, deadline=None)
def test_without_thresholds_random_networks_are_exact(seed: int, length: int, classifier: bool) -> None:
    module = random_network(seed, length, classifier=classifier)
    graph = quantize(trace(module, RANDOM_SHAPE), calibration(RANDOM_SHAPE), method="minmax")
    assert_exact(graph, RANDOM_SHAPE, 3, seed)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", NETWORKS)
def test_the_codes_stand_for_nearly_what_the_network_computes(name: str, method: Method) -> None:
    module, shape = network(name)
    graph, frames = trace(module, shape), calibration(shape)
    expected = run(graph, frames[:1])[graph.output]
    assert sqnr_db(expected, key_frame(quantize(graph, frames, method=method), frames[:1]).output) > 18


def test_relu_is_the_range_of_the_codes_and_other_functions_are_tables() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 1), nn.SiLU(), nn.Conv2d(4, 4, 1), nn.Hardswish(), nn.Sigmoid(),
        nn.MaxPool2d(2), nn.ReLU6(), nn.Conv2d(4, 2, 1),
    )  # fmt: skip
    graph = quantize(trace(module.eval(), (3, 10, 10)), calibration((3, 10, 10)))
    assert [type(step).__name__ for step in graph.steps] == [
        "CodeConv", "CodeConv", "CodeConv", "CodePool", "CodeTable", "CodeConv",
    ]  # fmt: skip
    first, second, third = (step for step in graph.steps[:3] if isinstance(step, CodeConv))
    assert graph.ranges[first.name].zero_point == 0
    assert np.array_equal(first.table, IDENTITY)
    assert [first.name, second.name, third.name] == ["1", "3", "6"]
    assert not np.array_equal(second.table, IDENTITY)
    assert graph.ranges["7"] == graph.ranges["6"], "pooling keeps the scale"
    assert isinstance(graph.steps[4], CodeTable)


def test_a_value_that_is_read_twice_keeps_its_own_codes() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y: torch.Tensor = self.conv(x)
            return torch.relu(y) + y

    graph = quantize(trace(Twice().eval(), (3, 4, 4)), calibration((3, 4, 4)))
    assert [type(step).__name__ for step in graph.steps] == ["CodeConv", "CodeTable", "CodeAdd"]


def test_many_parts_are_joined_two_at_a_time_in_one_scale() -> None:
    class Many(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.cat([x, torch.relu(x), 2 * x, torch.tanh(x)], 1)

    graph = quantize(trace(Many(), (2, 8, 8)), calibration((2, 8, 8)))
    joins = [step for step in graph.steps if isinstance(step, CodeConcat)]
    assert [step.whole for step in joins] == [graph.output] * 3
    assert [graph.shapes[step.name][0] for step in joins] == [4, 6, 8]
    assert len({graph.ranges[step.name] for step in joins}) == 1
    assert_exact(graph, (2, 8, 8), 3)


def test_the_multiplier_is_rounded_as_onnxruntimes() -> None:
    module, shape = network("encoder-decoder")
    graph = quantize(trace(module, shape), calibration(shape))
    for step in graph.steps:
        if isinstance(step, CodeConv):
            x = np.float32(graph.ranges[step.x].scale)
            expected = (x * step.weight_scale) / np.float32(step.before.scale)
            assert expected.dtype == np.float32
            np.testing.assert_array_equal(step.multiplier, expected)


def test_a_dead_filter_with_a_bias_keeps_it() -> None:
    conv = nn.Conv2d(3, 2, 1)
    with torch.no_grad():
        conv.weight[0] = 0
        conv.weight[1] = 1e-30
        conv.bias[:] = torch.tensor([0.75, -0.5])  # type: ignore[index]
    graph = quantize(trace(conv.eval(), (3, 4, 4)), calibration((3, 4, 4)))
    output = key_frame(graph, calibration((3, 4, 4))[:1]).output
    np.testing.assert_allclose(output[0, :, 0, 0], [0.75, -0.5], atol=0.01)


def test_thresholds_save_work_and_cost_accuracy() -> None:
    module, shape = network("encoder-decoder")
    graph = quantize(trace(module, shape), calibration(shape))
    loose = replace(graph, gate=Gate(threshold=16 * 30))
    first, second = clip(shape, 2)
    states = key_frame(graph, first).states
    noisy = second + np.random.default_rng(0).normal(0, 0.1, second.shape).astype(np.float32)
    found, exact = residual_frame(loose, noisy, states), residual_frame(graph, noisy, states)
    assert found.activity.mean() < exact.activity.mean()
    convolution = next(step.name for step in graph.steps if isinstance(step, CodeConv))
    stricter = quantize(trace(module, shape), calibration(shape), thresholds={convolution: 16 * 255})
    assert residual_frame(stricter, noisy, states).changed[convolution].max() == 0


def test_wrong_arguments_are_told() -> None:
    module, shape = network("encoder-decoder")
    graph, frames = trace(module, shape), calibration(shape)
    with pytest.raises(UsageError, match="allowed: minmax, percentile, mse"):
        calibrate(graph, frames, "entropy")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="calibration frames of shape"):
        calibrate(graph, frames[:, :1])
    with pytest.raises(UsageError, match="not finite"):
        calibrate(graph, np.full_like(frames, np.nan))
    with pytest.raises(UsageError, match="threshold 3 for 'nothing'"):
        quantize(graph, frames, thresholds={"nothing": 3})
    with pytest.raises(UsageError, match="tiles of 0 pixels"):
        quantize(graph, frames, gate=Gate(tile=0))
    with pytest.raises(UsageError, match="negative"):
        quantize(graph, frames, gate=Gate(threshold=-1))


@given(low=st.floats(-1e6, 1e6, width=32), high=st.floats(-1e6, 1e6, width=32))
def test_codes_hold_zero_and_round_values_to_the_nearest(low: float, high: float) -> None:
    codes = CodeRange.spanning(min(low, high), max(low, high))
    assert codes.dequantize(np.array([codes.zero_point], np.uint8)) == 0
    values = np.linspace(codes.low, codes.high, 50, dtype=np.float32)
    error = np.abs(codes.dequantize(codes.quantize(values)).astype(np.float64) - values)
    assert error.max() <= codes.scale * 0.501


def test_the_least_square_range_leaves_outliers_out() -> None:
    values = np.concatenate([np.random.default_rng(0).normal(size=100_000), [40.0]])
    counts, _ = np.histogram(values, 2048)
    low, high = least_square(counts, float(values.min()), float(values.max()))
    assert high < 35

    def error(low: float, high: float) -> float:
        codes = CodeRange.spanning(low, high)
        kept = codes.dequantize(codes.quantize(values.astype(np.float32)))
        return float(np.square(kept - values).mean())

    assert error(low, high) < error(float(values.min()), float(values.max()))
