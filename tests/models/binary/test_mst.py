"""The tree of filters is a minimum spanning tree of least depth, and its figures follow the paper's formulas."""

import numpy as np
import numpy.typing as npt
import pytest

from edgeml.models.binary.mst import distances, spanning_tree, statistics
from edgeml.ops.tree_coding import levels


def random_filters(filters: int, bits: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    generator = np.random.default_rng(seed)
    return np.packbits(generator.integers(0, 2, (filters, bits)), axis=1, bitorder="little")


def weight_by_prim(table: npt.NDArray[np.int64]) -> int:
    """Weight of the minimum spanning tree, grown from vertex 0."""
    outside, total = set(range(1, len(table))), 0
    nearest = table[0].copy()
    while outside:
        found = min(outside, key=lambda each: int(nearest[each]))
        total += int(nearest[found])
        outside.remove(found)
        nearest = np.minimum(nearest, table[found])
    return total


def depth_from(root: int, parents: npt.NDArray[np.int64]) -> int:
    """Depth of the same tree where `root` is its root."""
    neighbours: dict[int, set[int]] = {vertex: set() for vertex in range(len(parents))}
    for child, parent in enumerate(parents.tolist()):
        if child != parent:
            neighbours[child].add(parent)
            neighbours[parent].add(child)
    seen, level, depth = {root}, {root}, 0
    while level := {each for vertex in level for each in neighbours[vertex]} - seen:
        seen |= level
        depth += 1
    return depth


def test_distances_are_hamming_distances() -> None:
    weights = random_filters(9, 77)
    bits = np.unpackbits(weights, axis=1, count=77, bitorder="little")
    np.testing.assert_array_equal(distances(weights, 77), (bits[:, None] != bits[None]).sum(2))


@pytest.mark.parametrize("seed", range(10))
def test_the_tree_spans_at_least_weight_and_least_depth(seed: int) -> None:
    filters, bits = (int(each) for each in np.random.default_rng(seed).integers(2, 40, 2))
    weights = random_filters(filters, bits, seed)
    parents = spanning_tree(weights, bits)
    table = distances(weights, bits)
    assert int(table[np.arange(filters), parents].sum()) == weight_by_prim(table)
    depth = len(levels(parents)) - 1
    assert depth == min(depth_from(root, parents) for root in range(filters))


def test_equal_filters_have_edges_of_no_bits() -> None:
    weights = np.repeat(random_filters(2, 64), 3, axis=0)
    found = statistics(weights, 64)
    assert found.differing_bits == int(distances(weights, 64)[0, 5])


def test_one_filter_is_its_own_root() -> None:
    assert spanning_tree(random_filters(1, 9), 9).tolist() == [0]
    found = statistics(random_filters(1, 9), 9)
    assert (found.depth, found.mean_edge, found.tree_bit_operations) == (0, 0.0, 9)


def test_figures_follow_the_formulas() -> None:
    root = np.zeros(16, np.uint8)
    one, two = root.copy(), root.copy()
    one[3] = two[[3, 9]] = 1
    weights = np.packbits(np.stack([root, two, one]), axis=1, bitorder="little")
    found = statistics(weights, 16)
    assert found.depth == 1  # the filter between the others is the centre
    assert found.differing_bits == 2
    assert found.mean_edge == 2 / 32
    assert found.dense_bit_operations == 48
    assert found.tree_bit_operations == 18
    assert found.position_storage_bits == 16 + 2 * 4 + 2 * 2


def test_random_filters_halve_the_operations_but_not_the_storage() -> None:
    found = statistics(random_filters(64, 576), 576)
    assert 0.42 < found.mean_edge < 0.48
    assert found.tree_bit_operations < 0.5 * found.dense_bit_operations
    assert found.stored_bits == found.dense_storage_bits < found.tree_storage_bits < found.position_storage_bits


def test_json_holds_the_derived_figures() -> None:
    found = statistics(random_filters(4, 32), 32)
    assert found.to_json()["tree_bit_operations"] == found.tree_bit_operations
