"""The data set that needs no network."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

from edgeml.core.errors import CheckFailedError
from edgeml.models.datasets import digits, open_dataset


def test_both_splits_together_are_scikit_learns_digits() -> None:
    train, test = open_dataset("digits:train"), open_dataset("digits:test")
    assert (len(train), len(test)) == (1438, 359)
    assert train.images.shape == (1438, 8, 8, 1)  # type: ignore[union-attr]
    ours = np.sort(np.concatenate([np.asarray(part.images).reshape(len(part), -1).sum(1) for part in (train, test)]))
    theirs = np.sort(np.rint(load_digits().data * (255 / 16)).sum(1).astype(np.int64))
    np.testing.assert_array_equal(ours, theirs)


def test_every_class_gives_a_fifth_to_the_test_split() -> None:
    counts = {part: np.bincount(open_dataset(f"digits:{part}").labels) for part in ("train", "test")}
    share = counts["test"] / (counts["train"] + counts["test"])
    assert np.all(np.abs(share - 0.2) < 0.01)


def test_other_content_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digits, "_SHA256", "0" * 64)
    with pytest.raises(CheckFailedError, match="reinstall scikit-learn"):
        open_dataset("digits")
