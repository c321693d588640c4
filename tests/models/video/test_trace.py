from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from edgeml.core.errors import CheckFailedError, UsageError
from edgeml.models.tinynet.family import scaled
from edgeml.models.video.execute import run
from edgeml.models.video.graph import Add, Conv, Dense, GlobalPool, Pointwise, Pool, Resize, VideoGraph
from edgeml.models.video.trace import trace
from tests.models.video.networks import NETWORKS, RANDOM_SHAPE, network, random_network, settled

SHAPE = (3, 8, 12)


class Computes(nn.Module):
    """A module whose forward is a function; `parts` are its own modules and tensors."""

    def __init__(self, function: Callable[[Any, Tensor], Any], **parts: Any) -> None:
        super().__init__()
        self.function = function
        for name, part in parts.items():
            if isinstance(part, nn.Module):
                self.add_module(name, part)
            else:
                self.register_buffer(name, part)

    def forward(self, x: Tensor) -> Any:
        return self.function(self, x)


def assert_alike(module: nn.Module, shape: tuple[int, int, int] = SHAPE) -> VideoGraph:
    graph = trace(module, shape)
    frames = torch.randn(2, *shape, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        expected = module.eval()(frames.clone()).numpy()
    found = run(graph, frames.numpy())[graph.output]
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * max(1.0, np.abs(expected).max()))
    return graph


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_for_video_is_read_as_it_computes(name: str) -> None:
    module, shape = network(name)
    graph = assert_alike(module, shape)
    assert sum(isinstance(step, Conv) for step in graph.steps) == sum(
        isinstance(layer, nn.Conv2d) for layer in module.modules()
    ), "all batch normalization is folded"


@given(seed=st.integers(0, 2**20), length=st.integers(1, 9), classifier=st.booleans())
@settings(max_examples=25, deadline=None)
def test_a_random_network_is_read_as_it_computes(seed: int, length: int, classifier: bool) -> None:
    assert_alike(random_network(seed, length, classifier=classifier), RANDOM_SHAPE)


FORMS: dict[str, tuple[Callable[[Any, Tensor], Tensor], list[type]]] = {
    "functional relu": (lambda m, x: F.relu(m.conv(x)), [Conv, Pointwise]),
    "relu method in place": (lambda m, x: m.conv(x).relu_(), [Conv, Pointwise]),
    "function by keyword": (lambda m, x: F.relu(input=m.conv(x)), [Conv, Pointwise]),
    "clamp": (lambda m, x: torch.clamp(m.conv(x), min=-0.2, max=0.5), [Conv, Pointwise]),
    "operator add": (lambda m, x: m.conv(x) + x, [Conv, Add]),
    "torch.add": (lambda m, x: torch.add(m.conv(x), x), [Conv, Add]),
    "add in place": (lambda m, x: m.conv(x).add_(x), [Conv, Add]),
    "constant factor and shift": (lambda m, x: m.conv(x * 0.5 - 1), [Conv, Conv]),
    "normalization in front": (lambda m, x: m.conv((x - m.mean) / m.std), [Conv, Conv]),
    "factor folded": (lambda m, x: 2 * m.conv(x) / 3, [Conv]),
    "scale of each channel": (lambda m, x: m.conv(x) * m.std + m.mean, [Conv]),
    "interpolate by factor": (lambda m, x: F.interpolate(m.conv(x), scale_factor=3), [Conv, Resize]),
    "interpolate to the size of another": (
        lambda m, x: F.interpolate(F.max_pool2d(m.conv(x), 2), size=x.shape[-2:], mode="bilinear"),
        [Conv, Pool, Resize],
    ),
    "pad and convolve": (lambda m, x: m.valid(F.pad(x, (0, 2, 1, 1))), [Conv]),
    "average over padding": (lambda m, x: F.avg_pool2d(x, 3, 1, 1), [Conv]),
    "average of what is inside": (lambda m, x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False), [Pool]),
    "ceil mode": (lambda m, x: F.max_pool2d(x, 3, 2, ceil_mode=True), [Pool]),
    "adaptive to a part": (lambda m, x: F.adaptive_avg_pool2d(x, (4, 6)), [Pool]),
    "mean and linear": (lambda m, x: m.fc(m.conv(x).mean((-2, -1))), [Conv, GlobalPool, Dense]),
    "view and linear": (
        lambda m, x: m.fc(F.adaptive_avg_pool2d(m.conv(x), 1).view(x.size(0), -1)),
        [Conv, GlobalPool, Dense],
    ),
    "normalized linear": (lambda m, x: m.bn1d(m.fc(x.mean((2, 3)))), [GlobalPool, Dense]),
    "classifier as a convolution": (lambda m, x: m.head(x.mean((2, 3), keepdim=True)).flatten(1), [GlobalPool, Dense]),
    "flattened map": (lambda m, x: m.wide(torch.flatten(m.conv(x), 1)), [Conv, Dense]),
    "normalization by itself": (lambda m, x: m.bn(torch.cat((x, x), 1)), [object, Conv]),
    "convolution read twice": (lambda m, x: m.bn(torch.cat([y := m.conv(x), y], 1)), [Conv, object, Conv]),
    "same padding": (lambda m, x: m.same(x), [Conv]),
    "dropout in evaluation": (lambda m, x: F.dropout(m.conv(x), training=m.training), [Conv]),
}


@pytest.mark.parametrize("form", FORMS)
def test_each_form_of_a_step_is_known(form: str) -> None:
    function, kinds = FORMS[form]
    torch.manual_seed(1)
    module = Computes(
        function, conv=nn.Conv2d(3, 3, 3, padding=1), valid=nn.Conv2d(3, 4, 3),
        same=nn.Conv2d(3, 4, 3, padding="same", dilation=2),
        fc=nn.Linear(3, 5), bn1d=nn.BatchNorm1d(5), bn=nn.BatchNorm2d(6), head=nn.Conv2d(3, 5, 1),
        wide=nn.Linear(288, 2), mean=torch.rand(3, 1, 1), std=torch.rand(1, 3, 1, 1) + 0.5,
    )  # fmt: skip
    graph = assert_alike(settled(module, SHAPE))
    assert len(graph.steps) == len(kinds), graph.steps
    assert all(isinstance(step, kind) for step, kind in zip(graph.steps, kinds, strict=True))


def test_what_an_in_place_function_wrote_over_is_what_later_readers_see() -> None:
    def forward(module: Any, x: Tensor) -> Tensor:
        y = module.conv(x)
        z = F.relu(y, inplace=True)
        return y + z  # type: ignore[no-any-return]

    assert_alike(Computes(forward, conv=nn.Conv2d(3, 3, 1)))


def test_a_module_that_is_called_twice_is_two_steps() -> None:
    graph = assert_alike(Computes(lambda m, x: m.conv(F.relu(m.conv(x))), conv=nn.Conv2d(3, 3, 3, padding=1)))
    assert len({step.name for step in graph.steps}) == len(graph.steps) == 3


def test_the_module_is_not_changed_by_being_read() -> None:
    module, shape = network("encoder-decoder")
    module.train()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    trace(module, shape)
    assert module.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())


REFUSED: dict[str, tuple[Callable[[Any, Tensor], Any], str]] = {
    "product": (lambda m, x: x * torch.sigmoid(m.conv(x)), "squeeze-and-excitation"),
    "attention": (lambda m, x: torch.matmul(x, x.transpose(2, 3)), "transpose"),
    "transposed": (lambda m, x: m.transposed(x), "transposed: .*upsampling and a convolution"),
    "dilated pooling": (lambda m, x: F.max_pool2d(x, 2, dilation=2), "dilation 2"),
    "group norm": (lambda m, x: m.norm(x), "norm: .*BatchNorm2d"),
    "other padding": (lambda m, x: m.reflect(x), "reflect: .*padding_mode='zeros'"),
    "difference": (lambda m, x: m.conv(x) - x, "difference"),
    "decision": (lambda m, x: x if x.sum() > 0 else -x, "cannot be traced"),
    "aligned corners": (
        lambda m, x: F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True), "align_corners=True",
    ),
    "uneven size": (lambda m, x: F.interpolate(x, size=(12, 18)), "whole factor"),
    "bilinear by three": (lambda m, x: F.interpolate(x, scale_factor=3, mode="bilinear"), "2 and 4"),
    "rows side by side": (lambda m, x: torch.cat((x, x), 2), "axis 2"),
    "other shapes": (lambda m, x: x + x.mean((2, 3), keepdim=True), "one shape"),
    "two results": (lambda m, x: (x, m.conv(x)), "one tensor"),
    "slice": (lambda m, x: x[:, :1], "getitem"),
    "the network's own mistake": (lambda m, x: m.wrong(x), "wrong fails on a frame"),
    "random": (lambda m, x: F.dropout(m.conv(x)), "training=self.training"),
    "slopes": (lambda m, x: m.slopes(x), "slopes: .*one slope"),
    "a view at the end": (lambda m, x: m.conv(x).flatten(1), "ends with a view"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_has_no_step_is_named_with_its_place_and_a_mend(what: str) -> None:
    function, message = REFUSED[what]
    module = Computes(
        function, conv=nn.Conv2d(3, 3, 1), transposed=nn.ConvTranspose2d(3, 3, 2, 2), norm=nn.GroupNorm(1, 3),
        reflect=nn.Conv2d(3, 3, 3, padding=1, padding_mode="reflect"), wrong=nn.Conv2d(5, 3, 1), slopes=nn.PReLU(3),
    )  # fmt: skip
    with pytest.raises(UsageError, match=message) as caught:
        trace(module, SHAPE)
    assert "\n" not in str(caught.value)


def test_squeeze_and_excitation_is_named_by_its_path() -> None:
    module = scaled("tinynet-r32-w0.1-d0.1")(classes=4, in_channels=3, resolution=None).module
    with pytest.raises(UsageError, match=r"^blocks\.0\.0\.se: mul is a product of two computed values"):
        trace(module, (3, 32, 32))


def test_a_hook_that_changes_what_a_module_gives_is_found_out() -> None:
    conv = nn.Conv2d(3, 3, 1)
    module = Computes(lambda m, x: m.conv(x), conv=conv)
    conv.register_forward_hook(lambda _module, _inputs, result: result + 1)
    with pytest.raises(CheckFailedError, match="differs from it"):
        trace(module, SHAPE)
