"""Packed networks compute what trained ones do."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from edgeml.core.errors import UsageError
from edgeml.models.binary.deploy import PackedBinaryConv2d, PackedBinaryLinear, deployed
from edgeml.models.binary.layers import BinaryConv2d, BinaryLinear, set_binarize_weights
from edgeml.models.registry import find

pytestmark = pytest.mark.torch


def network() -> nn.Sequential:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(1, 12, 3),
        BinaryConv2d(12, 8, (3, 1), stride=(1, 2), padding=(2, 0), dilation=(2, 1), groups=4, learned_threshold=True),
        nn.Sequential(nn.BatchNorm2d(8), BinaryConv2d(8, 5, 1, weight_scale="learned")),
        nn.Flatten(),
        BinaryLinear(90, 10, weight_scale="one"),
    )
    with torch.no_grad():
        module.get_parameter("1.threshold").normal_()
    return module.eval()


def test_every_binary_layer_is_packed_under_its_name_and_the_outputs_are_the_same_bits() -> None:
    module = network()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    packed = deployed(module)
    assert isinstance(packed.get_submodule("1"), PackedBinaryConv2d)
    assert isinstance(packed.get_submodule("2.1"), PackedBinaryConv2d)
    assert isinstance(packed.get_submodule("4"), PackedBinaryLinear)
    x = torch.randn(3, 1, 8, 8)
    assert torch.equal(packed(x), module(x))
    assert isinstance(module[1], BinaryConv2d)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_weights_take_a_bit_each() -> None:
    weight = deployed(BinaryConv2d(64, 64, 3)).get_buffer("weight")
    assert weight.dtype == torch.uint8
    assert weight.shape == (64, 72)


def test_a_layer_used_twice_stays_one_layer() -> None:
    layer = BinaryLinear(6, 6)
    packed = deployed(nn.ModuleDict({"a": layer, "b": layer}))
    assert isinstance(packed.get_submodule("a"), PackedBinaryLinear)
    assert packed.get_submodule("a") is packed.get_submodule("b")


def test_a_network_without_binary_layers_is_returned_as_it_is() -> None:
    module = nn.Linear(2, 3)
    assert deployed(module) is module


def test_a_network_in_its_first_stage_is_refused_by_the_layers_name() -> None:
    module = network()
    set_binarize_weights(module, False)
    with pytest.raises(UsageError, match="the weights of 1 are not binarized yet"):
        deployed(module)


def test_torch_exports_one_operator_a_layer_with_any_batch() -> None:
    module = deployed(find("binarynet-small").build(classes=None, in_channels=None, resolution=None).module)
    x = torch.randn(2, 1, 28, 28)
    program = torch.export.export(module, (x,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    targets = [str(node.target) for node in program.graph.nodes]
    layers = [layer for layer in module.modules() if isinstance(layer, PackedBinaryConv2d)]
    assert targets.count("edgeml.binary_conv.default") == len(layers) > 3
    more = torch.randn(5, 1, 28, 28)
    with torch.no_grad():
        torch.testing.assert_close(program.module()(more), module(more))
