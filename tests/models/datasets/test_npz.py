"""NumPy archives: the two layouts, and archives that are not what they seem."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeml.core.errors import UntrustedFileError, UsageError
from edgeml.models.datasets import npz, open_dataset

_IMAGES = np.arange(20 * 4 * 4, dtype=np.uint8).reshape(20, 4, 4)
_LABELS = np.arange(20) % 2


def test_one_set_of_images_is_split(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    np.savez_compressed(path, images=_IMAGES, labels=_LABELS, classes=np.array(["even", "odd"]))
    train, test = open_dataset(f"npz:{path}:train"), open_dataset(f"npz:{path}")
    assert (len(train), len(test)) == (16, 4)
    assert np.asarray(test.images).shape == (4, 4, 4, 1)
    assert test.classes == ("even", "odd")
    assert np.bincount(test.labels).tolist() == [2, 2]


def test_two_sets_of_images_are_taken_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    rgb = np.zeros((3, 5, 6, 3), np.uint8)
    np.savez(path, train_images=rgb, train_labels=np.array([0, 1, 2]), test_images=rgb[:1], test_labels=np.array([1]))
    test = open_dataset(f"npz:{path}:test")
    assert test.image_size == (5, 6)
    assert test.channels == 3
    assert test.classes == ("0", "1", "2")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"labels": _LABELS}, "has no array 'images'"),
        ({"test_images": _IMAGES}, "has no array 'test_labels'"),
        ({"images": _IMAGES.astype(np.float32), "labels": _LABELS}, "images are float32"),
        ({"images": np.moveaxis(np.zeros((2, 4, 4, 3), np.uint8), 3, 1), "labels": _LABELS[:2]}, "images are uint8"),
        ({"images": _IMAGES, "labels": _LABELS[:3]}, "labels are"),
        ({"images": _IMAGES, "labels": _LABELS / 2}, "labels are float64"),
        ({"images": _IMAGES, "labels": _LABELS - 1}, "from -1"),
        ({"images": _IMAGES, "labels": _LABELS, "classes": np.array(["one"])}, "expected 2 or more strings"),
        ({"images": _IMAGES[:0], "labels": _LABELS[:0]}, "no samples"),
    ],
)
def test_arrays_of_another_form_are_told(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    path = tmp_path / "data.npz"
    np.savez(path, **arrays)
    with pytest.raises(UsageError, match=message):
        open_dataset(f"npz:{path}")


def test_python_objects_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    np.savez(path, images=_IMAGES, labels=np.array([{}], dtype=object))
    with pytest.raises(UntrustedFileError, match="Python objects"):
        open_dataset(f"npz:{path}")


def test_a_header_that_promises_more_than_there_is_allocates_nothing(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    header = "{'descr': '|u1', 'fortran_order': False, 'shape': (9999999999999, 28, 28)}".ljust(117) + "\n"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode())
    with pytest.raises(UsageError, match="its header promises"):
        open_dataset(f"npz:{path}")


def test_archives_too_large_or_damaged_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "data.npz"
    np.savez_compressed(path, images=_IMAGES, labels=_LABELS)
    whole = path.read_bytes()
    monkeypatch.setattr(npz, "LIMIT_BYTES", 100)
    with pytest.raises(UntrustedFileError, match="more than the limit of 100"):
        open_dataset(f"npz:{path}")
    monkeypatch.undo()
    for content in (b"", b"PK", whole[:-40], whole[:60] + bytes([whole[60] ^ 255]) + whole[61:]):
        path.write_bytes(content)
        with pytest.raises(UsageError, match=r"data\.npz"):
            open_dataset(f"npz:{path}")
    with pytest.raises(UsageError, match="cannot read"):
        open_dataset(f"npz:{tmp_path / 'none.npz'}")
