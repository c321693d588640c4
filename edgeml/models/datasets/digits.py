"""Handwritten digits: 1,797 grey pictures, 8x8 pixels, ten classes; ships with scikit-learn, so it needs no network."""

from __future__ import annotations

import hashlib

import numpy as np

from edgeml.core.errors import CheckFailedError, needs_extra
from edgeml.models.datasets.dataset import Dataset
from edgeml.models.datasets.spec import DatasetSpec, Split
from edgeml.models.datasets.splitting import stratified_split

# Of the pixel values 0 to 16 as bytes, then the labels as bytes: the split and every figure depend on them.
_SHA256 = "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"


def read(spec: DatasetSpec, split: Split) -> Dataset:
    """The `split` of scikit-learn's digits (test part of UCI's optical recognition set): uint8 (sample, 8, 8, 1).

    It comes without a test split; a fixed stratified fifth is taken. Pixels 0 to 16 are spread to 0 to 255.

    Raises:
        MissingError: scikit-learn is not installed.
        CheckFailedError: this scikit-learn ships other content.
    """
    with needs_extra("train"):
        from sklearn.datasets import load_digits
    bunch = load_digits()
    pixels = bunch.images.astype(np.uint8)
    labels = bunch.target.astype(np.int64)
    digest = hashlib.sha256(pixels.tobytes() + labels.astype(np.uint8).tobytes()).hexdigest()
    if digest != _SHA256:
        raise CheckFailedError(
            f"scikit-learn's digits have SHA-256 {digest[:12]}..., expected {_SHA256[:12]}...; reinstall scikit-learn"
        )
    chosen = stratified_split(labels, [str(index) for index in range(len(labels))], split)
    images = np.rint(pixels[chosen].astype(np.float64) * (255 / 16)).astype(np.uint8)
    return Dataset(
        spec=str(spec),
        split=split,
        images=images[..., np.newaxis],
        labels=labels[chosen],
        classes=tuple(str(digit) for digit in range(10)),
        channels=1,
        digest=lambda: digest,
    )
