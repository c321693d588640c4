"""edgeml's networks against the timm package's own, and timm as a source.

Needs timm: pip install --no-deps timm==1.0.31 torchvision==0.28.0
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from edgeml.core.errors import MissingError, UsageError
from edgeml.models.source import load_source
from edgeml.models.timm_source import import_timm

pytestmark = [pytest.mark.torch, pytest.mark.timm]

NAMES = ["tinynet_a", "tinynet_b", "tinynet_c", "tinynet_d", "tinynet_e", "efficientnet_b0"]


@pytest.fixture(scope="module")
def timm() -> Any:
    """The timm package."""
    try:
        return import_timm()
    except MissingError as error:
        pytest.skip(f"{error}; the versions tested: pip install --no-deps timm==1.0.31 torchvision==0.28.0")


def perturb(module: nn.Module) -> None:
    """Give normalization statistics and weights as a trained network has them."""
    generator = torch.Generator().manual_seed(0)
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            for tensor, low, high in (
                (norm.running_mean, -0.2, 0.2),
                (norm.running_var, 0.5, 2),
                (norm.weight, 0.5, 1.5),
                (norm.bias, -0.2, 0.2),
            ):
                assert tensor is not None
                tensor.data.uniform_(low, high, generator=generator)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("name", NAMES)
def test_a_state_dict_of_timm_loads_and_gives_timms_outputs(timm: Any, name: str, suffix: str, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    torch.manual_seed(3)
    reference = timm.create_model(name, pretrained=False, num_classes=11).eval()
    perturb(reference)
    path = tmp_path / f"w{suffix}"
    if suffix == ".pth":
        torch.save(reference.state_dict(), path)
    else:
        save_file(reference.state_dict(), path)
    network = load_source(name.replace("_", "-"), weights=path)
    assert list(network.module.state_dict()) == list(reference.state_dict())
    images = torch.randn(2, *network.input_shape)
    with torch.no_grad():
        expected = reference(images)
        assert torch.allclose(network.module(images), expected, rtol=1e-5, atol=1e-6)
    assert float(expected.std()) > 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_the_input_transform_is_the_one_timm_states(timm: Any, name: str) -> None:
    ours, theirs = load_source(name.replace("_", "-")), load_source(f"timm:{name}")
    assert ours.preprocessing == theirs.preprocessing
    assert theirs.notes == ()
    assert (theirs.name, theirs.family) == (f"timm:{name}", "timm")


def test_gradients_and_statistics_agree_in_training_too(timm: Any) -> None:
    reference = timm.create_model("tinynet_e", pretrained=False, num_classes=5)
    network = load_source("tinynet-e", classes=5).module
    network.load_state_dict(reference.state_dict())
    images = torch.randn(4, 3, 64, 64)
    for module in (reference, network):
        module.train()
        module(images).square().sum().backward()
    for (name, ours), theirs in zip(network.named_parameters(), reference.parameters(), strict=True):
        assert ours.grad is not None
        assert torch.allclose(ours.grad, theirs.grad, rtol=1e-3, atol=1e-5), name
    for (name, buffer), theirs in zip(network.named_buffers(), reference.buffers(), strict=True):
        assert torch.allclose(buffer.float(), theirs.float(), rtol=1e-4, atol=1e-6), name


def test_classes_channels_and_size_are_passed_on(timm: Any) -> None:
    network = load_source("timm:resnet10t", classes=4, in_channels=1, resolution=64)
    assert network.input_shape == (1, 64, 64)
    assert network.module(torch.zeros(1, 1, 64, 64)).shape == (1, 4)
    fixed_size = load_source("timm:test_vit", classes=4, resolution=96)
    assert fixed_size.module(torch.zeros(1, 3, 96, 96)).shape == (1, 4)


@pytest.mark.parametrize("name", ["resnet18x", "hf-hub:someone/net", "", "../net", "resnet18.no_such_tag"])
def test_names_timm_does_not_have_are_refused_without_asking_the_network(timm: Any, name: str) -> None:
    with pytest.raises(UsageError, match="has no network"):
        load_source(f"timm:{name}")
