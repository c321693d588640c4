"""The loss is the share of differing bits over the tree's edges, and following it makes filters alike."""

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from edgeml.models.binary.layers import (  # noqa: E402
    BinaryConv2d,
    BinaryLinear,
    clip_latent_weights,
    set_binarize_weights,
)
from edgeml.models.binary.mst_loss import TreeLoss, layer_statistics, mean_edge  # noqa: E402

pytestmark = pytest.mark.torch


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(BinaryConv2d(8, 16, 3), BinaryConv2d(16, 12, 3, groups=2), BinaryLinear(4, 4))


def test_the_loss_is_the_share_of_differing_bits_summed_over_the_edges() -> None:
    module = network()
    found = layer_statistics(module)
    assert list(found) == ["0", "1"]
    expected = sum(each.differing_bits / each.filter_bits for each in found.values())
    assert TreeLoss(module)().item() == pytest.approx(expected, rel=1e-6)


def test_mean_edge_weighs_layers_by_their_bits() -> None:
    module = network()
    found = layer_statistics(module).values()
    differing = sum(each.differing_bits for each in found)
    assert mean_edge(module) == differing / (15 * 72 + 11 * 72)


def test_gradients_point_from_each_filter_to_its_relatives() -> None:
    module = nn.Sequential(BinaryConv2d(1, 2, 2))
    layer = module[0]
    assert isinstance(layer, BinaryConv2d)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[[[0.5, 0.5], [-0.5, 2.0]]], [[[0.5, -0.5], [-0.5, -0.5]]]]))
    loss = TreeLoss(module)()
    assert loss.item() == 0.5
    loss.backward()  # type: ignore[no-untyped-call]
    assert layer.weight.grad is not None
    # -b_j / (2 N) for the other filter j, and 0 where the latent weight is beyond 1.
    assert layer.weight.grad.flatten(1).tolist() == [[-0.125, 0.125, 0.125, 0.0], [-0.125, -0.125, 0.125, -0.125]]


def test_following_the_loss_alone_makes_filters_alike() -> None:
    module = network()
    before = mean_edge(module)
    optimizer = torch.optim.Adam(module.parameters(), 0.02)
    for _ in range(4):
        loss = TreeLoss(module)
        for _ in range(20):
            optimizer.zero_grad()
            loss().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            clip_latent_weights(module)
    assert before > 0.35
    assert mean_edge(module) < before / 2  # not 0: a pair may trade a bit back and forth


def test_real_weights_are_left_alone() -> None:
    module = network()
    set_binarize_weights(module, False)
    assert TreeLoss(module)().item() == 0.0


def test_a_network_without_binary_layers_has_no_loss() -> None:
    assert TreeLoss(nn.Linear(2, 2))().item() == 0.0
    assert mean_edge(nn.Linear(2, 2)) == 0.0
