"""Where Fashion-MNIST's files are looked for, and what is accepted as them."""

from __future__ import annotations

import gzip
import hashlib
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgeml.core.errors import CheckFailedError, MissingError
from edgeml.models.datasets import fashion_mnist, open_dataset

_IMAGES = struct.pack(">HBB3I", 0, 8, 3, 2, 28, 28) + bytes(2 * 28 * 28)
_LABELS = struct.pack(">HBBI", 0, 8, 1, 2) + bytes([3, 9])


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data directory's folder for a two-image Fashion-MNIST, with nothing to find or fetch elsewhere."""
    monkeypatch.setenv("EDGEML_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(fashion_mnist, "DEBIAN_DIRECTORY", tmp_path / "debian")
    monkeypatch.setattr(fashion_mnist, "HOME", "http://127.0.0.1:9")
    images, labels = fashion_mnist._FILES["test"]
    small = (
        replace(images, sha256=hashlib.sha256(_IMAGES).hexdigest()),
        replace(labels, sha256=hashlib.sha256(_LABELS).hexdigest()),
    )
    monkeypatch.setitem(fashion_mnist._FILES, "test", small)
    folder = tmp_path / "data" / "fashion-mnist"
    folder.mkdir(parents=True)
    return folder


def test_plain_and_compressed_files_are_both_read(directory: Path) -> None:
    (directory / "t10k-images-idx3-ubyte").write_bytes(_IMAGES)
    (directory / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(_LABELS))
    data = open_dataset("fashion-mnist:test")
    assert data.image_size == (28, 28)
    assert data.labels.tolist() == [3, 9]
    assert data.classes[9] == "Ankle boot"
    assert len(data.sha256) == 64


def test_the_packages_directory_is_looked_at_second(directory: Path, tmp_path: Path) -> None:
    debian = tmp_path / "debian"
    debian.mkdir()
    (debian / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(_IMAGES))
    (debian / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(_LABELS))
    assert len(open_dataset("fashion-mnist:test")) == 2
    (directory / "t10k-images-idx3-ubyte").write_bytes(b"something else")
    with pytest.raises(CheckFailedError, match="is not Fashion-MNIST's t10k-images"):
        open_dataset("fashion-mnist:test")


def test_without_files_and_network_the_ways_out_are_told(directory: Path) -> None:
    with pytest.raises(
        MissingError, match=r"apt-get install dataset-fashion-mnist.*or use the data set digits"
    ) as told:
        open_dataset("fashion-mnist:test")
    assert str(directory) in str(told.value)
    assert list(directory.iterdir()) == []


@pytest.mark.skipif(
    not fashion_mnist.DEBIAN_DIRECTORY.is_dir(), reason="needs Debian's package dataset-fashion-mnist, absent here"
)
def test_debians_copy_has_the_published_content_and_statistics(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EDGEML_DATA", str(tmp_path))
    test = open_dataset("fashion-mnist:test")
    assert np.asarray(test.images).shape == (10_000, 28, 28, 1)
    train = open_dataset("fashion-mnist:train")
    assert np.bincount(train.labels).tolist() == [6000] * 10
    pixels = np.asarray(train.images)
    histogram = np.bincount(pixels.reshape(-1), minlength=256)
    values = np.arange(256) / 255
    mean = float((histogram * values).sum() / histogram.sum())
    std = float(np.sqrt((histogram * (values - mean) ** 2).sum() / histogram.sum()))
    assert (round(mean, 4), round(std, 4)) == (0.2860, 0.3530)
