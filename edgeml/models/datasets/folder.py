"""A folder of image files in which each class is a sub-folder."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgeml.core.artifact import sha256_file
from edgeml.core.errors import UsageError
from edgeml.models.datasets.dataset import Dataset, LazyImages
from edgeml.models.datasets.decoding import FORMATS, decode_rgb
from edgeml.models.datasets.spec import DatasetSpec, Split
from edgeml.models.datasets.splitting import stratified_split

_SPLIT_FOLDERS: dict[Split, tuple[str, ...]] = {"train": ("train",), "test": ("test", "val")}


def read(spec: DatasetSpec, split: Split) -> Dataset:
    """The `split` of DIR/CLASS/*.jpg, or of DIR/train/CLASS and DIR/test/CLASS (or DIR/val/CLASS) where these exist.

    Classes are the sub-folders in alphabetical order. Without train and test folders a fifth of each class, chosen by
    the hash of the file names, is the test split. Images are decoded when they are asked for, as RGB.

    Raises:
        UsageError: there is no such folder, it has no images, or its splits name different classes.
    """
    root = Path(spec.location)
    if not root.is_dir():
        raise UsageError(f"data {str(spec)!r}: {root} is not a folder; name one with a sub-folder for each class")
    folders = {part: _split_folder(root, part) for part in _SPLIT_FOLDERS}
    if any(folders.values()):
        directory = folders[split]
        if directory is None:
            raise UsageError(
                f"data {str(spec)!r} has no {split} split; add the folder {root / _SPLIT_FOLDERS[split][0]}"
            )
        classes = _class_names(folders["train"] or directory)
        if stray := set(_class_names(directory)) - set(classes):
            raise UsageError(f"{directory} has the class {min(stray)!r}, which {folders['train']} does not have")
        paths, labels = _list(directory, classes)
        chosen = np.arange(len(paths))
    else:
        classes = _class_names(root)
        paths, labels = _list(root, classes)
        chosen = stratified_split(labels, [path.name for path in paths], split)
    if not len(chosen):
        raise UsageError(f"data {str(spec)!r}: no images in the {split} split of {root} (known: {', '.join(FORMATS)})")
    paths = [paths[index] for index in chosen]
    return Dataset(
        spec=str(spec),
        split=split,
        images=LazyImages(paths, decode_rgb),
        labels=labels[chosen],
        classes=classes,
        channels=3,
        digest=lambda: _digest(root, paths),
    )


def _split_folder(root: Path, split: Split) -> Path | None:
    return next((root / name for name in _SPLIT_FOLDERS[split] if (root / name).is_dir()), None)


def _class_names(directory: Path) -> tuple[str, ...]:
    names = tuple(sorted(entry.name for entry in directory.iterdir() if entry.is_dir() and entry.name[0] != "."))
    if not names:
        raise UsageError(f"{directory} has no sub-folders; put the images of each class into a folder of its name")
    return names


def _list(directory: Path, classes: tuple[str, ...]) -> tuple[list[Path], np.ndarray[tuple[int], np.dtype[np.int64]]]:
    paths: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        # Sub-folders of a class belong to it; hidden files (macOS leaves ._photo.jpg) do not.
        found = [
            path
            for path in (directory / name).rglob("*")
            if path.suffix.lower() in FORMATS and path.name[0] != "." and path.is_file()
        ]
        paths += sorted(found)
        labels += [label] * len(found)
    return paths, np.array(labels, dtype=np.int64)


def _digest(root: Path, paths: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{sha256_file(path)}  {path.relative_to(root).as_posix()}\n".encode())
    return digest.hexdigest()
