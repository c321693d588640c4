"""Splits are the same on every machine, whatever order files are listed in."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edgeml.models.datasets.splitting import stratified_split

_LABELS = st.lists(st.integers(0, 4), min_size=1, max_size=60).map(lambda labels: np.array(labels, np.int64))


@given(_LABELS)
def test_the_splits_are_disjoint_complete_and_stratified(labels: np.ndarray[tuple[int], np.dtype[np.int64]]) -> None:
    keys = [str(index) for index in range(len(labels))]
    train, test = stratified_split(labels, keys, "train"), stratified_split(labels, keys, "test")
    np.testing.assert_array_equal(np.sort(np.concatenate([train, test])), np.arange(len(labels)))
    for label in np.unique(labels):
        count, held_out = int((labels == label).sum()), int((labels[test] == label).sum())
        assert held_out == (0 if count == 1 else max(1, round(count / 5)))


def test_the_split_follows_the_names_not_their_order() -> None:
    keys = [f"photo{index}.png" for index in range(40)]
    labels = np.zeros(40, np.int64)
    test = {keys[index] for index in stratified_split(labels, keys, "test")}
    backwards = keys[::-1]
    assert {backwards[index] for index in stratified_split(labels, backwards, "test")} == test
