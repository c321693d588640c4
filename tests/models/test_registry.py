"""The dict of networks."""

from __future__ import annotations

import subprocess
import sys

import pytest

from edgeml.core.errors import UsageError
from edgeml.models import registry
from edgeml.models.network import Network


def test_the_networks_are_listed_without_loading_anything_heavy() -> None:
    code = (
        "import sys; from edgeml.models.registry import names; print(*names());"
        "print([name for name in ('torch', 'sklearn', 'numpy', 'timm', 'safetensors') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    listed, loaded = done.stdout.splitlines()
    tinynets = ["tinynet-a", "tinynet-b", "tinynet-c", "tinynet-d", "tinynet-e", "efficientnet-b0"]
    binary = ["birealnet18", "birealnet18-light", "quicknet", "vgg-small", "binarynet-small"]
    video = ["encoder-decoder", "two-branch", "tinynet-c-lite", "tinynet-e-lite"]
    assert listed.split() == [*tinynets, *binary, *video]
    assert loaded == "[]"


@pytest.mark.parametrize("name", ["tinynet_e", "TinyNet-E", "tinynet-f", "efficientnet-b1"])
def test_an_unknown_name_is_told_the_nearest_ones(name: str) -> None:
    with pytest.raises(UsageError, match=r"did you mean (tinynet-\w|efficientnet-b0)"):
        registry.find(name)


def test_a_name_like_no_other_is_told_all_of_them() -> None:
    with pytest.raises(
        UsageError, match=r"unknown network 'zzz'; known: tinynet-a, .*efficientnet-b0.*file\.py:factory"
    ):
        registry.find("zzz")


def test_a_network_can_be_registered_and_not_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    registry.names()
    monkeypatch.setattr(registry, "_ENTRIES", dict(registry._ENTRIES))

    @registry.register("mine", family="own")
    def build(*, classes: int | None, in_channels: int | None, resolution: int | None) -> Network:
        raise NotImplementedError

    entry = registry.find("mine")
    assert (entry.name, entry.family, entry.build) == ("mine", "own", build)
    assert registry.names()[-1] == "mine"
    with pytest.raises(AssertionError, match="mine"):
        registry.register("mine", family="own")(build)


@pytest.mark.torch
@pytest.mark.parametrize("name", [*registry.names(), "tinynet-r28-w0.35-d0.5-small"])
def test_classes_channels_and_resolution_are_arguments(name: str) -> None:
    import torch

    network = registry.find(name).build(classes=7, in_channels=2, resolution=64)
    assert network.name == name
    assert not network.module.training
    assert network.input_shape == (2, 64, 64)
    with torch.no_grad():
        maps = (64, 64) if network.family == "segmentation" else ()
        assert network.module(torch.zeros(2, 2, 64, 64)).shape == (2, 7, *maps)


@pytest.mark.torch
@pytest.mark.parametrize(
    ("task", "word"),
    [
        ({"classes": 0}, "0 classes"),
        ({"classes": 10**9}, "1000000000 classes"),
        ({"in_channels": -1}, "-1 input channels"),
        ({"in_channels": 10**6}, "1000000 input channels"),
        ({"resolution": 3}, "resolution 3 "),
    ],
)
def test_arguments_out_of_range_are_refused_before_memory_is_taken(task: dict[str, int], word: str) -> None:
    arguments = {"classes": None, "in_channels": None, "resolution": None} | task
    with pytest.raises(UsageError, match=rf"{word}.*allowed: "):
        registry.find("tinynet-e").build(**arguments)
