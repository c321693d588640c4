"""Ranges against exhaustive search, fake quantization against plain arithmetic, gradients against LSQ's formulas."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeml.core.errors import EdgeMLError, UsageError
from edgeml.models.video.resq.quantizer import Quantizer
from edgeml.models.video.resq.ranges import activation_scale, residual_scale, signed_codes, weight_scales

pytestmark = pytest.mark.torch


@pytest.fixture(autouse=True)
def _same_numbers_every_time() -> None:
    torch.manual_seed(0)


def squared_error(values: torch.Tensor, scale: float, low: int, high: int) -> float:
    exact = values.double().numpy()
    return float(np.square(np.clip(np.rint(exact / scale), low, high) * scale - exact).sum())


@pytest.mark.parametrize("bits", range(2, 9))
def test_a_residual_range_is_nearly_as_good_as_the_best_of_a_fine_grid(bits: int) -> None:
    values = torch.distributions.Laplace(0.0, 0.2).sample((20000,))
    low, high = signed_codes(bits)
    largest = float(values.abs().max())
    best = min(squared_error(values, largest * ratio / high, low, high) for ratio in np.linspace(0.005, 1, 400))
    assert squared_error(values, residual_scale(values, bits), low, high) <= 1.02 * best


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_activations_of_one_sign_use_all_codes_on_that_side(bits: int) -> None:
    values = torch.randn(5000).relu()
    scale, low, high = activation_scale(values, bits)
    assert (low, high) == (0, 2**bits - 1)
    assert scale * high <= float(values.max()) * 1.001
    scale, low, high = activation_scale(-values, bits)
    assert (low, high) == (1 - 2**bits, 0)


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 8), st.floats(-2, 2), st.floats(0.01, 100))
def test_activations_keep_zero_exact_and_clip_no_worse_than_not_at_all(bits: int, mean: float, width: float) -> None:
    values = (torch.randn(2000, generator=torch.Generator().manual_seed(1)) + mean) * width
    scale, low, high = activation_scale(values, bits)
    assert low <= 0 <= high
    assert high - low == 2**bits - 1
    bottom, top = min(0.0, float(values.min())), max(0.0, float(values.max()))
    whole = (top - bottom) / (2**bits - 1)
    whole_low = round(bottom / whole)
    unclipped = squared_error(values, whole, whole_low, whole_low + 2**bits - 1)
    assert squared_error(values, scale, low, high) <= unclipped * 1.0001


def test_weights_have_a_step_for_each_channel_that_no_other_on_the_grid_beats() -> None:
    weight = torch.randn(6, 4, 3, 3) * torch.logspace(-3, 2, 6)[:, None, None, None]
    weight[2] = 0
    scales = weight_scales(weight, 4)
    assert scales.shape == (6, 1, 1, 1)
    assert scales[2].item() == 1
    for channel in (0, 1, 3, 4, 5):
        largest = float(weight[channel].abs().max())
        found = squared_error(weight[channel], float(scales[channel]), -7, 7)
        for ratio in np.linspace(0.3, 1, 50):
            assert found <= squared_error(weight[channel], largest * ratio / 7, -7, 7) * 1.05


def test_values_that_are_all_zero_have_some_step() -> None:
    assert residual_scale(torch.zeros(5), 4) == 1
    assert activation_scale(torch.zeros(5), 4) == (1, 0, 15)


@pytest.mark.parametrize("bits", [1, 9])
def test_other_bits_are_refused(bits: int) -> None:
    with pytest.raises(UsageError, match="2 to 8"):
        Quantizer("weight", bits)


def test_values_that_are_not_finite_are_refused() -> None:
    with pytest.raises(UsageError, match="not finite"):
        Quantizer("residual", 4).fit(torch.tensor([1.0, torch.nan]))


def test_a_quantizer_without_a_range_says_so() -> None:
    with pytest.raises(EdgeMLError, match="calibrate"):
        Quantizer("activation", 8)(torch.ones(1))


@pytest.mark.parametrize("kind", ["activation", "residual"])
@pytest.mark.parametrize("bits", range(2, 9))
def test_rounded_values_are_codes_times_the_step(kind: str, bits: int) -> None:
    quantizer = Quantizer("activation" if kind == "activation" else "residual", bits)
    values = torch.randn(3000) + 0.5
    quantizer.fit(values)
    codes = quantizer.codes(values)
    assert quantizer.low <= int(codes.min()) < int(codes.max()) <= quantizer.high
    assert torch.equal(quantizer(values), codes * quantizer.scale)
    scale = quantizer.scale.item()
    expected = np.clip(np.rint(values.numpy() / np.float32(scale)), quantizer.low, quantizer.high) * np.float32(scale)
    np.testing.assert_array_equal(quantizer(values).detach().numpy(), expected)
    with torch.no_grad():
        assert torch.equal(quantizer(values), codes * quantizer.scale)


def test_a_step_that_is_a_power_of_two_is_kept_exactly() -> None:
    powers = 2.0 ** torch.arange(-20, 10)
    assert torch.equal(torch.exp2(powers.log2()), powers)


def test_gradients_are_those_of_lsq() -> None:
    quantizer = Quantizer("residual", 3)
    quantizer.fit(torch.tensor([1.5]))
    assert quantizer.log2_scale is not None
    with torch.no_grad():
        quantizer.log2_scale.fill_(-1)  # a step of 0.5, codes -3 to 3
    x = torch.tensor([0.1, 0.6, -0.9, 4.0, -4.0], requires_grad=True)
    upstream = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])
    (quantizer(x) * upstream).sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, upstream * torch.tensor([1, 1, 1, 0, 0]))
    v = x.detach() / 0.5
    of_step = torch.tensor([v[0].round() - v[0], v[1].round() - v[1], v[2].round() - v[2], 3, -3])
    expected = (of_step * upstream).sum() / (5 * 3) ** 0.5 * 0.5 * np.log(2)  # the last two from the logarithm
    assert quantizer.log2_scale.grad is not None
    torch.testing.assert_close(quantizer.log2_scale.grad, expected.to(torch.float32))
