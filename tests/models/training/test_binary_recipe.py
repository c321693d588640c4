"""A short run of the binary recipe on Fashion-MNIST; the documented accuracy comes from the whole one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from edgeml.core.errors import MissingError
from edgeml.models.binary.layers import binary_layers
from edgeml.models.datasets import Dataset, default_preprocessing, open_dataset
from edgeml.models.registry import find
from edgeml.models.training import get_recipe, train

pytestmark = [pytest.mark.torch, pytest.mark.slow]


def first(name: str, count: int) -> Dataset:
    try:
        whole = open_dataset(name)
    except MissingError as error:
        pytest.skip(str(error))
    assert isinstance(whole.images, np.ndarray)
    return replace(whole, images=whole.images[:count], labels=whole.labels[:count])


def test_the_small_network_learns_clothes_within_a_hundred_steps(tmp_path: Path) -> None:
    training, test = first("fashion-mnist:train", 6400), first("fashion-mnist:test", 1000)
    preprocessing = default_preprocessing(training, resolution=28)
    torch.manual_seed(0)
    network = find("binarynet-small").build(classes=10, in_channels=1, resolution=28)
    result = train(
        network.module,
        network=network.name,
        preprocessing=preprocessing,
        training=training,
        test=test,
        recipe=replace(get_recipe("binary", epochs=2), real_weight_epochs=1),
        output=tmp_path / "run",
        device="cpu",
    )
    assert all(layer.binarize_weights for _, layer in binary_layers(network.module))
    assert result.top1 > 0.6  # ten classes; chance is 0.1
