"""A labelled image data set: one split, its classes, and the digest of what it was read from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgeml.models.datasets.spec import DatasetSpec, Split

Image = npt.NDArray[np.uint8]


class LazyImages:
    """Images that stay files until one is asked for.

    Indexing gives uint8 (height, width, channels); sizes may differ from image to image.
    """

    def __init__(self, paths: Sequence[Path], decode: Callable[[Path], Image]) -> None:
        self.paths = tuple(paths)
        self._decode = decode

    def __len__(self) -> int:
        """Number of images."""
        return len(self.paths)

    def __getitem__(self, index: int) -> Image:
        """Decode image `index`.

        Raises:
            UsageError: the file is not an image that can be decoded.
            UntrustedFileError: the image is larger than the pixel limit.
        """
        return self._decode(self.paths[index])

    def __iter__(self) -> Iterator[Image]:
        """Decode one image after the other."""
        return (self._decode(path) for path in self.paths)


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """One split of a data set.

    Attributes:
        spec: what was asked for, without the split ("fashion-mnist", "folder:photos").
        split: which part this is.
        images: uint8 (sample, height, width, channels), or files decoded when asked for.
        labels: int64 (sample,), indices into `classes`.
        classes: class names in label order.
        channels: 1 grey, 3 RGB.
        digest: computes the hex SHA-256 of the content used; for folders that reads every file.
    """

    spec: str
    split: Split
    images: npt.NDArray[np.uint8] | LazyImages
    labels: npt.NDArray[np.int64]
    classes: tuple[str, ...]
    channels: int
    digest: Callable[[], str]

    @property
    def name(self) -> str:
        """The data set and split, for example "fashion-mnist:test"."""
        return f"{self.spec}:{self.split}"

    @property
    def kind(self) -> str:
        """The family of the data set, for example "fashion-mnist" or "folder"."""
        return DatasetSpec.parse(self.spec).kind

    @property
    def image_size(self) -> tuple[int, int] | None:
        """Height and width in pixels where every image has the same, else None."""
        return None if isinstance(self.images, LazyImages) else (self.images.shape[1], self.images.shape[2])

    @cached_property
    def sha256(self) -> str:
        """Hex SHA-256 of the content this split was read from."""
        return self.digest()

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.labels)

    def spread(self, limit: int | None) -> npt.NDArray[np.int64]:
        """Indices of at most `limit` samples, spread evenly so that data sorted by class keeps all its classes."""
        count = len(self) if limit is None else min(limit, len(self))
        return np.arange(count, dtype=np.int64) * len(self) // max(count, 1)
