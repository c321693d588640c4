"""What training by name finds out about network and data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgeml.core.errors import UsageError
from edgeml.models.datasets import open_dataset
from edgeml.models.training import source_training
from edgeml.models.training.source_training import TrainOptions, train_source
from edgeml.models.training.weights_metadata import WeightsMetadata, read_weights_metadata

pytestmark = pytest.mark.torch

_QUICK = TrainOptions(recipe="quick", epochs=1)


def trained(source: str, data: str, output: Path, options: TrainOptions = _QUICK) -> WeightsMetadata:
    metadata = read_weights_metadata(train_source(source, data, output, options).weights)
    assert metadata is not None
    return metadata


def make_npz(path: Path, side: int, channels: int = 3) -> str:
    images = np.zeros((20, side, side, channels), np.uint8)
    np.savez(path, images=images, labels=np.arange(20) % 2)
    return f"npz:{path}"


def test_size_channels_and_classes_follow_the_data(tmp_path: Path) -> None:
    metadata = trained("tinynet-e", make_npz(tmp_path / "d.npz", 32), tmp_path / "run")
    assert (metadata.resolution, metadata.in_channels, metadata.classes) == (32, 3, ("0", "1"))
    assert metadata.preprocessing.crop_fraction == 1.0
    assert metadata.preprocessing.mean[0] == 0.485


def test_a_size_in_the_name_or_the_options_goes_before_the_datas(tmp_path: Path) -> None:
    data = make_npz(tmp_path / "d.npz", 32, channels=1)
    assert trained("tinynet-r40-w0.1-d0.1-small", data, tmp_path / "a").resolution == 40
    options = TrainOptions(recipe="quick", epochs=1, resolution=48)
    assert trained("tinynet-r40-w0.1-d0.1-small", data, tmp_path / "b", options).resolution == 48


def test_small_images_are_enlarged_to_what_the_network_can_use(tmp_path: Path) -> None:
    assert trained("tinynet-e", make_npz(tmp_path / "d.npz", 10), tmp_path / "run").resolution == 28


def test_the_seed_decides_the_fresh_weights(tmp_path: Path) -> None:
    data = make_npz(tmp_path / "d.npz", 28, channels=1)
    first, second, other = (
        train_source(
            "tinynet-r28-w0.1-d0.1-small", data, tmp_path / name, TrainOptions(recipe="quick", epochs=1, seed=s)
        )
        for name, s in (("a", 0), ("b", 0), ("c", 1))
    )
    assert first.sha256 == second.sha256 != other.sha256


def test_only_pictures_that_stay_themselves_are_mirrored(tmp_path: Path) -> None:
    def flips(data: str) -> bool:
        return source_training._recipe(open_dataset(data), TrainOptions(recipe="tinynet")).augmentation.flip

    assert not flips("digits:train")
    assert not flips(make_npz(tmp_path / "grey.npz", 8, channels=1))
    assert flips(make_npz(tmp_path / "rgb.npz", 8))


def test_the_test_split_is_not_trained_on(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="leave :test out"):
        train_source("tinynet-e", "digits:test", tmp_path, _QUICK)
