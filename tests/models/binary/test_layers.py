"""Binary layers against plain convolutions of signs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from edgeml.core.errors import UsageError
from edgeml.models.binary.layers import (
    BinaryConv2d,
    BinaryLinear,
    binary_layers,
    clip_latent_weights,
    set_binarize_weights,
)

pytestmark = pytest.mark.torch


def signs(x: Tensor) -> Tensor:
    return torch.where(x < 0, torch.tensor(-1.0), torch.tensor(1.0))


@st.composite
def geometries(draw: st.DrawFn) -> dict[str, Any]:
    groups = draw(st.integers(1, 3))
    pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
    return {
        "in_channels": groups * draw(st.integers(1, 5)),
        "out_channels": groups * draw(st.integers(1, 4)),
        "kernel_size": draw(pair),
        "stride": draw(pair),
        "padding": draw(st.tuples(st.integers(0, 2), st.integers(0, 2))),
        "dilation": draw(pair),
        "groups": groups,
    }


@settings(max_examples=40, deadline=None)
@given(geometries())
def test_evaluation_scales_exact_counts_of_signs(geometry: dict[str, Any]) -> None:
    layer = BinaryConv2d(**geometry, learned_threshold=True).eval()
    with torch.no_grad():
        layer.threshold.uniform_(-0.5, 0.5)
    x = torch.randn(2, layer.in_channels, 9, 8)
    shape = {key: geometry[key] for key in ("stride", "padding", "dilation", "groups")}
    count = F.conv2d(signs(x - layer.threshold[:, None, None]), signs(layer.weight), None, **shape)
    assert torch.equal(count, count.round())
    scale = layer.weight.abs().mean((1, 2, 3))
    assert torch.equal(layer(x), count * scale[:, None, None])


def test_training_computes_what_evaluation_does() -> None:
    layer = BinaryConv2d(4, 6, 3, padding=1)
    x = torch.randn(2, 4, 5, 5)
    torch.testing.assert_close(layer.train()(x), layer.eval()(x))


@pytest.mark.parametrize("shape", [(5,), (3, 5), (2, 3, 5)])
def test_dense_layers_take_any_leading_axes(shape: tuple[int, ...]) -> None:
    layer = BinaryLinear(5, 4, weight_scale="one").eval()
    x = torch.randn(shape)
    assert torch.equal(layer(x), signs(x) @ signs(layer.weight).T)


def test_in_the_first_stage_only_inputs_are_signs() -> None:
    network = nn.Sequential(BinaryConv2d(3, 4, 3), BinaryConv2d(4, 2, 1, weight_scale="learned"))
    set_binarize_weights(network, False)
    first, second = (layer for _, layer in binary_layers(network))
    x = torch.randn(1, 3, 4, 4)
    hidden = F.conv2d(signs(x), first.weight)
    torch.testing.assert_close(network(x), F.conv2d(signs(hidden), second.weight))
    set_binarize_weights(network, True)
    assert not torch.equal(network[0](x), hidden)


@pytest.mark.parametrize("weight_scale", ["mean", "learned", "one"])
def test_gradients_reach_everything_that_is_learned(weight_scale: str) -> None:
    layer = BinaryConv2d(3, 4, 3, weight_scale=weight_scale, learned_threshold=True)  # type: ignore[arg-type]
    x = torch.randn(2, 3, 6, 6, requires_grad=True)
    layer(x).square().sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0
    names = {name for name, parameter in layer.named_parameters()}
    assert names == {"weight", "threshold"} | ({"scale"} if weight_scale == "learned" else set())
    for name, parameter in layer.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_a_higher_threshold_has_the_gradient_of_a_lower_input() -> None:
    layer = BinaryLinear(5, 4, learned_threshold=True)
    x = torch.randn(3, 5, requires_grad=True)
    layer(x).square().sum().backward()
    assert x.grad is not None
    assert layer.threshold.grad is not None
    torch.testing.assert_close(layer.threshold.grad, -x.grad.sum(0))


def test_the_weights_gradient_stops_beyond_one() -> None:
    layer = BinaryLinear(2, 1, weight_scale="one")
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.5, 0.5]]))
    layer(torch.tensor([[2.0, 2.0]])).sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.tolist() == [[0.0, 1.0]]
    clip_latent_weights(layer)
    assert layer.weight.tolist() == [[1.0, 0.5]]


def test_learned_scales_start_from_the_weights_mean_size() -> None:
    layer = BinaryConv2d(3, 4, 3, weight_scale="learned")
    torch.testing.assert_close(layer.effective_scale, layer.weight.abs().mean((1, 2, 3)))


def test_a_threshold_that_is_not_learned_is_no_part_of_the_weights() -> None:
    assert list(BinaryConv2d(3, 4, 3).state_dict()) == ["weight"]


def test_impossible_layers_are_refused() -> None:
    with pytest.raises(UsageError, match="2 groups do not divide 3 input and 4 output channels"):
        BinaryConv2d(3, 4, 3, groups=2)
    with pytest.raises(UsageError, match="unknown weight scale 'median'; allowed: mean, learned, one"):
        BinaryLinear(3, 4, weight_scale="median")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="unknown estimator"):
        BinaryConv2d(3, 4, 3, estimator="none")  # type: ignore[arg-type]
