"""The counter of multiply-accumulates, against counts made by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from edgeml.core.errors import UsageError
from edgeml.models.complexity import Complexity, count

pytestmark = pytest.mark.torch


def test_convolutions_and_linear_layers_are_counted_and_the_rest_is_not() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.SiLU(),
        nn.Conv2d(8, 8, 5, padding=2, groups=8),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 10),
    )
    assert count(network, (3, 16, 16)) == Complexity(
        params=3 * 8 * 9 + 16 + (8 * 25 + 8) + (8 * 10 + 10), macs=3 * 8 * 9 * 64 + 8 * 25 * 64 + 80
    )


@pytest.mark.parametrize("frozen", [False, True])
def test_attention_is_counted_also_where_torch_would_fuse_it(frozen: bool) -> None:
    length, width, hidden = 10, 64, 128
    network = nn.TransformerEncoderLayer(width, 4, hidden, batch_first=True).requires_grad_(not frozen)
    macs = 4 * length * width**2 + 2 * length**2 * width + 2 * length * width * hidden
    assert count(network, (length, width)).macs == macs


def test_the_network_is_left_as_it_was() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Dropout())
    network[1].eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    count(network, (1, 4, 4))
    assert network.training
    assert not network[1].training
    assert network[2].training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_a_network_with_tensors_that_are_no_buffers_is_counted_by_running_it() -> None:
    class Shifted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 3)
            self.shift = torch.ones(1, 4)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.linear(self.linear(x + self.shift)[:, :1].expand(-1, 4))
            return y + self.shift[:, :3]

    assert count(Shifted(), (4,)).macs == 24


def test_half_precision_is_counted_the_same() -> None:
    assert count(nn.Conv2d(3, 4, 3).half(), (3, 8, 8)) == count(nn.Conv2d(3, 4, 3), (3, 8, 8))


def test_an_input_the_network_does_not_take_is_told_in_one_line() -> None:
    with pytest.raises(UsageError, match=r"does not take an input of shape \(1, 5, 8, 8\)"):
        count(nn.Conv2d(3, 4, 3), (5, 8, 8))
