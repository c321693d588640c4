"""Filters stored as a tree of differences come back bit by bit, and what is no tree is refused."""

import dataclasses

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeml.core.errors import UsageError
from edgeml.ops.tree_coding import CodedTree, decode, decode_parents, encode, levels, parent_bits


def random_tree(filters: int, generator: np.random.Generator, *, chain: bool = False) -> npt.NDArray[np.int64]:
    order = generator.permutation(filters)
    parents = np.empty(filters, np.int64)
    parents[order[0]] = order[0]
    for place in range(1, filters):
        parents[order[place]] = order[place - 1 if chain else generator.integers(place)]
    return parents


def random_filters(filters: int, bits: int, share: float, generator: np.random.Generator) -> npt.NDArray[np.uint8]:
    common = generator.integers(0, 2, bits)
    changed = generator.random((filters, bits)) < share
    return np.packbits(common ^ changed, axis=1, bitorder="little")


@settings(deadline=None)
@given(
    filters=st.integers(2, 40),
    bits=st.integers(1, 200),
    share=st.sampled_from([0.0, 0.01, 0.1, 0.5, 1.0]),
    seed=st.integers(0, 1 << 30),
)
def test_filters_and_parents_come_back(filters: int, bits: int, share: float, seed: int) -> None:
    generator = np.random.default_rng(seed)
    weights, parents = random_filters(filters, bits, share, generator), random_tree(filters, generator)
    tree = encode(weights, parents)
    np.testing.assert_array_equal(decode(tree, filters), weights)
    np.testing.assert_array_equal(decode_parents(tree, filters), parents)


def test_differences_take_little_more_than_their_entropy() -> None:
    generator = np.random.default_rng(0)
    for share in (0.02, 0.05, 0.1, 0.2, 0.3):
        root = generator.integers(0, 2, 2304)
        weights = np.packbits(
            np.vstack([root, root ^ (generator.random((255, 2304)) < share)]), axis=1, bitorder="little"
        )
        tree = encode(weights, np.zeros(256, np.int64))
        entropy = -share * np.log2(share) - (1 - share) * np.log2(1 - share)
        spent = 8 * (tree.quotients.size + tree.remainders.size) / (255 * 2304)
        assert entropy * 0.97 < spent < entropy * 1.05


def test_gaps_never_take_more_than_places_and_counts() -> None:
    generator = np.random.default_rng(1)
    for filters, bits in ((2, 8), (7, 72), (64, 576), (16, 4608)):
        for share in (0.0, 1 / bits, 0.01, 0.05, 0.3):
            root = generator.integers(0, 2, bits)
            changed = generator.random((filters - 1, bits)) < share
            weights = np.packbits(np.vstack([root, root ^ changed]), axis=1, bitorder="little")
            tree = encode(weights, np.zeros(filters, np.int64))
            places = int(changed.sum()) * (bits - 1).bit_length() + (filters - 1) * bits.bit_length()
            # The gap to the end and two strings rounded to bytes are the coding's own.
            ends = (bits - 1).bit_length() + 1 + 2 * 8
            assert 8 * (tree.quotients.size + tree.remainders.size) <= places + ends


def test_levels_follow_the_distance_from_the_root() -> None:
    parents = np.array([1, 1, 0, 1, 2])
    assert [level.tolist() for level in levels(parents)] == [[1], [0, 3], [2], [4]]


@pytest.mark.parametrize(("filters", "bits"), [(2, 1), (3, 2), (64, 6), (65, 7), (512, 9)])
def test_parents_take_the_bits_of_an_index(filters: int, bits: int) -> None:
    assert parent_bits(filters) == bits


@pytest.mark.parametrize("parents", [[1, 0, 0], [0, 1, 0], [0, 2, 1]])
def test_what_is_no_tree_is_not_encoded(parents: list[int]) -> None:
    with pytest.raises(UsageError, match="root"):
        encode(np.zeros((3, 1), np.uint8), np.array(parents))


def broken(**changes: object) -> CodedTree:
    generator = np.random.default_rng(2)
    tree = encode(random_filters(6, 40, 0.2, generator), random_tree(6, generator))
    return dataclasses.replace(tree, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("tree", "line"),
    [
        (broken(rice_parameter=0), "rice_parameter is 0"),
        (broken(rice_parameter=31), "rice_parameter is 31"),
        (broken(root_index=6), "root 6"),
        (broken(root_index=-1), "root -1"),
        (broken(quotients=np.zeros(0, np.uint8)), "fields|fill"),
        (broken(quotients=np.full(3, 255, np.uint8)), "fields|fill"),
        (broken(remainders=np.zeros(0, np.uint8)), "remainders has 0 bytes"),
        (broken(parents=np.zeros(9, np.uint8)), "parents has 9 bytes"),
        (broken(parents=np.full(2, 255, np.uint8)), "parent is 7"),
        (broken(root=np.zeros(6, np.uint8)), "need 240"),
    ],
)
def test_a_damaged_tree_is_refused_with_what_is_wrong(tree: CodedTree, line: str) -> None:
    with pytest.raises(UsageError, match=line):
        decode(tree, 6)


def test_a_tree_deeper_than_the_body_reaches_is_refused() -> None:
    chain = np.maximum(np.arange(1025) - 1, 0)
    with pytest.raises(UsageError, match="1024 filters deep"):
        decode(encode(np.zeros((1025, 1), np.uint8), chain), 1025)


def test_a_circle_is_refused() -> None:
    tree = encode(np.zeros((4, 1), np.uint8), np.zeros(4, np.int64))
    circle = np.packbits([0, 1, 1, 1, 0, 1], bitorder="little")  # filter 1 from 2, 2 from 3, 3 from 2
    with pytest.raises(UsageError, match="do not descend"):
        decode(dataclasses.replace(tree, parents=circle), 4)
