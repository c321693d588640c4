"""Splits data that comes without a test split, the same way on every machine and in every run."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edgeml.models.datasets.spec import Split

TEST_FRACTION = 0.2


def stratified_split(labels: npt.NDArray[np.int64], keys: Sequence[str], split: Split) -> npt.NDArray[np.int64]:
    """Indices of the samples in `split`, in ascending order.

    Within each class samples are ordered by the SHA-256 of their key; the first fifth (rounded, and at least one of two
    or more) is the test split. So the split depends on names alone, not on the order in which files are listed.

    Args:
        labels: int64 (sample,).
        keys: one name a sample, for example the file name.
        split: the part asked for.
    """
    order = np.argsort([hashlib.sha256(key.encode()).hexdigest() for key in keys], kind="stable")
    in_test = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = order[labels[order] == label]
        count = max(round(TEST_FRACTION * len(members)), 1 if len(members) > 1 else 0)
        in_test[members[:count]] = True
    return np.flatnonzero(in_test if split == "test" else ~in_test)
