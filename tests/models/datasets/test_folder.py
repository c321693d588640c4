"""Folders of images: classes, splits, and files that are not what they seem."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgeml.core.errors import UntrustedFileError, UsageError
from edgeml.models.datasets import LazyImages, open_dataset


def save(path: Path, colour: tuple[int, int, int] = (10, 20, 30), size: tuple[int, int] = (6, 4)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


def test_classes_are_the_sub_folders_and_a_fifth_is_held_out(tmp_path: Path) -> None:
    for index in range(10):
        save(tmp_path / "dog" / f"{index}.png", (255, 0, 0))
        save(tmp_path / "cat" / f"{index}.jpg", (0, 255, 0))
    (tmp_path / "cat" / "notes.txt").write_text("not an image")
    (tmp_path / "cat" / "._1.jpg").write_text("left by a file manager")
    train, test = open_dataset(f"folder:{tmp_path}:train"), open_dataset(f"folder:{tmp_path}")
    assert train.classes == test.classes == ("cat", "dog")
    assert np.bincount(train.labels).tolist() == [8, 8]
    assert np.bincount(test.labels).tolist() == [2, 2]
    assert isinstance(train.images, LazyImages)
    assert isinstance(test.images, LazyImages)
    assert not set(train.images.paths) & set(test.images.paths)
    assert train.images[0].shape == (4, 6, 3)
    assert test.images[3].tolist()[0][0] == [255, 0, 0]
    assert test.image_size is None
    assert train.sha256 != test.sha256


@pytest.mark.parametrize("name", ["test", "val"])
def test_train_and_test_folders_are_used_where_they_exist(tmp_path: Path, name: str) -> None:
    save(tmp_path / "train" / "a" / "1.png")
    save(tmp_path / "train" / "b" / "deep" / "1.png")
    save(tmp_path / name / "b" / "1.png")
    assert open_dataset(f"folder:{tmp_path}:train").labels.tolist() == [0, 1]
    assert open_dataset(f"folder:{tmp_path}:test").labels.tolist() == [1]


def test_a_class_only_the_test_folder_has_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "train" / "a" / "1.png")
    save(tmp_path / "test" / "c" / "1.png")
    with pytest.raises(UsageError, match="has the class 'c'"):
        open_dataset(f"folder:{tmp_path}:test")


def test_what_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a folder"):
        open_dataset(f"folder:{tmp_path / 'none'}")
    with pytest.raises(UsageError, match="has no sub-folders"):
        open_dataset(f"folder:{tmp_path}")
    (tmp_path / "a").mkdir()
    with pytest.raises(UsageError, match="no images in the test split"):
        open_dataset(f"folder:{tmp_path}")
    (tmp_path / "train").mkdir()
    with pytest.raises(UsageError, match="has no test split; add the folder"):
        open_dataset(f"folder:{tmp_path}")


def test_a_damaged_image_is_named(tmp_path: Path) -> None:
    path = tmp_path / "test" / "a" / "1.png"
    save(path, size=(64, 64))
    path.write_bytes(path.read_bytes()[:80])
    images = open_dataset(f"folder:{tmp_path}").images
    with pytest.raises(UsageError, match=r"cannot read the image .*1\.png"):
        images[0]


def test_an_image_bomb_is_refused_by_its_header(tmp_path: Path) -> None:
    path = tmp_path / "test" / "a" / "bomb.png"
    path.parent.mkdir(parents=True)
    for side in (9_000, 60_000):
        header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
        chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", 0x35AF061E))
        with pytest.raises(UntrustedFileError, match="limit"):
            open_dataset(f"folder:{tmp_path}").images[0]
