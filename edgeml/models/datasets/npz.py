"""A NumPy .npz file with images and labels."""

from __future__ import annotations

import math
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeml.core.artifact import sha256_file
from edgeml.core.errors import UntrustedFileError, UsageError
from edgeml.models.datasets.dataset import Dataset
from edgeml.models.datasets.spec import DatasetSpec, Split
from edgeml.models.datasets.splitting import stratified_split

LIMIT_BYTES = 8 << 30
_LAYOUT = (
    "images uint8 (sample, height, width) or (sample, height, width, channels), labels integer (sample,), "
    "optionally classes; or the same with train_ and test_ in front of images and labels"
)


def read(spec: DatasetSpec, split: Split) -> Dataset:
    """The `split` of an .npz file, uint8 (sample, height, width, channels) with 1 or 3 channels.

    Without train_ and test_ arrays a fifth of each class, chosen by the hash of its index, is the test split.

    Raises:
        UsageError: the file cannot be read or its arrays are not of the documented shape and type.
        UntrustedFileError: its arrays are larger than 8 GiB, or hold Python objects.
    """
    path = Path(spec.location)
    arrays = _load(path)
    parts = {"train_images", "test_images"} & arrays.keys()
    prefix = f"{split}_" if parts else ""
    if missing := {f"{prefix}images", f"{prefix}labels"} - arrays.keys():
        raise UsageError(
            f"{path} has no array {min(missing)!r}; it has {', '.join(sorted(arrays))}; expected: {_LAYOUT}"
        )
    images = _checked_images(path, arrays[f"{prefix}images"])
    labels = _checked_labels(path, arrays[f"{prefix}labels"], len(images))
    # Classes without names are counted over both splits, so that train and test agree.
    every = [array for key, array in arrays.items() if key in {"labels", "train_labels", "test_labels"} and array.size]
    classes = _checked_classes(path, arrays.get("classes"), max((int(array.max()) for array in every), default=-1) + 1)
    if not parts:
        chosen = stratified_split(labels, [str(index) for index in range(len(labels))], split)
        images, labels = images[chosen], labels[chosen]
    if not len(labels):
        raise UsageError(f"{path} has no samples in its {split} split")
    return Dataset(
        spec=str(spec),
        split=split,
        images=images,
        labels=labels,
        classes=classes,
        channels=images.shape[3],
        digest=lambda: sha256_file(path),
    )


def _load(path: Path) -> dict[str, npt.NDArray[Any]]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            total = sum(member.file_size for member in members)
            if total > LIMIT_BYTES:
                raise UntrustedFileError(f"{path} unpacks to {total} bytes, more than the limit of {LIMIT_BYTES}")
            return {
                member.filename.removesuffix(".npy"): _read_member(path, archive, member)
                for member in members
                if member.filename.endswith(".npy")
            }
    except (OSError, ValueError, EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise UsageError(f"cannot read {path} as an .npz file: {error}") from error


def _read_member(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> npt.NDArray[Any]:
    # The header is held against the member's size before numpy allocates what the header claims.
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        if version == (1, 0):
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        elif version == (2, 0):
            shape, _, dtype = np.lib.format.read_array_header_2_0(file)
        else:
            raise UsageError(f"{path}: {member.filename} has the .npy version {version}; 1.0 and 2.0 are read")
        if dtype.hasobject:
            raise UntrustedFileError(f"{path}: {member.filename} holds Python objects, which can run code when loaded")
        if file.tell() + math.prod(shape) * dtype.itemsize != member.file_size:
            raise UsageError(
                f"{path}: {member.filename} is {member.file_size} bytes, its header promises {shape} {dtype}"
            )
    with archive.open(member) as file:
        array: npt.NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
        return array


def _checked_images(path: Path, images: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    if images.ndim == 3:
        images = images[..., np.newaxis]
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3) or 0 in images.shape[1:]:
        raise UsageError(f"{path}: images are {images.dtype} {images.shape}; expected: {_LAYOUT}, channels 1 or 3")
    return images


def _checked_labels(path: Path, labels: npt.NDArray[Any], count: int) -> npt.NDArray[np.int64]:
    if labels.shape != (count,) or not np.issubdtype(labels.dtype, np.integer):
        raise UsageError(f"{path}: labels are {labels.dtype} {labels.shape} for {count} images; expected: {_LAYOUT}")
    if count and labels.min() < 0:
        raise UsageError(f"{path}: labels run from {labels.min()}; they are indices of classes, counted from 0")
    return labels.astype(np.int64)


def _checked_classes(path: Path, names: npt.NDArray[Any] | None, count: int) -> tuple[str, ...]:
    if names is None:
        return tuple(str(label) for label in range(count))
    if names.ndim != 1 or names.dtype.kind != "U" or len(names) < count:
        raise UsageError(f"{path}: classes are {names.dtype} {names.shape}; expected {count} or more strings")
    return tuple(str(name) for name in names)
