"""Orders a layer's binary filters in a tree, so that each is its parent with few bits changed; and what that saves.

Vo et al., "MST-compression: Compressing and Accelerating Binary Neural Networks with Minimum Spanning Tree", ICCV 2023:
filters are vertices, the number of bits in which two differ is their distance, and the minimum spanning tree, rooted at
its centre, says which filter to compute from which.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeml.ops.bits import unpack_signs
from edgeml.ops.tree_coding import encode, levels, parent_bits


@dataclass(frozen=True, kw_only=True)
class TreeStatistics:
    """What a tree saves in one layer, or, summed up, in a network.

    Attributes:
        filters: output channels.
        filter_bits: N, the bits of one filter.
        depth: filters on the longest way from the root, the root not counted: steps that wait for each other.
        differing_bits: of all filters with their parents.
        dense_storage_bits: the filters as they are.
        tree_storage_bits: root, parents and coded differences as a file holds them, in whole bytes.
        position_storage_bits: the same by the paper's formula, every differing place in ceil(log2 N) bits.
    """

    filters: int
    filter_bits: int
    depth: int
    differing_bits: int
    dense_storage_bits: int
    tree_storage_bits: int
    position_storage_bits: int

    @property
    def mean_edge(self) -> float:
        """Mean share of a filter's bits that differ from its parent's; 0 for a single filter."""
        return self.differing_bits / max(1, (self.filters - 1) * self.filter_bits)

    @property
    def dense_bit_operations(self) -> int:
        """XNOR-and-counts of one output pixel, every filter on its own."""
        return self.filters * self.filter_bits

    @property
    def tree_bit_operations(self) -> int:
        """The same with the tree: the root's in full, of the others the differing bits."""
        return self.filter_bits + self.differing_bits

    @property
    def stored_bits(self) -> int:
        """The smaller of the two forms, which is the one a file gets."""
        return min(self.dense_storage_bits, self.tree_storage_bits)

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self) | {
            "mean_edge": self.mean_edge,
            "dense_bit_operations": self.dense_bit_operations,
            "tree_bit_operations": self.tree_bit_operations,
            "stored_bits": self.stored_bits,
        }


def spanning_tree(weights: npt.NDArray[np.uint8], bits: int) -> npt.NDArray[np.int64]:
    """The parent of each filter in the minimum spanning tree rooted at its centre; the root is its own.

    No root of this tree gives less depth, which is half its longest path, rounded up.

    Args:
        weights: uint8 (filters, ceil(bits / 8)), packed with the least significant bit first.
        bits: of a filter.

    Returns:
        int64 (filters).
    """
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree

    if len(weights) == 1:
        return np.zeros(1, np.int64)
    # scipy takes a distance of 0 for no edge; 1 more on each changes no tree.
    tree = minimum_spanning_tree(csr_matrix(np.triu(distances(weights, bits) + 1, 1)))
    edges = tree + tree.T
    _, before = breadth_first_order(edges, _farthest(edges, 0), directed=False)
    end = _farthest(edges, int(np.flatnonzero(before < 0)[0]))
    path = [end]
    while before[path[-1]] >= 0:
        path.append(int(before[path[-1]]))
    root = path[len(path) // 2]
    _, parents = breadth_first_order(edges, root, directed=False)
    result: npt.NDArray[np.int64] = parents.astype(np.int64)
    result[root] = root
    return result


def distances(weights: npt.NDArray[np.uint8], bits: int) -> npt.NDArray[np.int64]:
    """In how many bits each two of the packed filters differ: (N - W W^T) / 2, int64 (filters, filters)."""
    signs = unpack_signs(weights, bits).astype(np.float32)  # exact up to 2^24 bits
    agreement: npt.NDArray[np.int64] = (signs @ signs.T).astype(np.int64)
    return (bits - agreement) // 2


def statistics(
    weights: npt.NDArray[np.uint8], bits: int, parents: npt.NDArray[np.int64] | None = None
) -> TreeStatistics:
    """What the tree of these packed filters saves.

    Args:
        weights: uint8 (filters, ceil(bits / 8)).
        bits: of a filter.
        parents: the tree; the one of `spanning_tree` where it is not given.
    """
    parents = spanning_tree(weights, bits) if parents is None else parents
    filters = len(weights)
    differing = int(np.unpackbits(weights ^ weights[parents]).sum())
    return TreeStatistics(
        filters=filters,
        filter_bits=bits,
        depth=len(levels(parents)) - 1,
        differing_bits=differing,
        dense_storage_bits=weights.size * 8,
        tree_storage_bits=8 * (encode(weights, parents).size_bytes if filters > 1 else weights.size),
        position_storage_bits=bits + differing * (bits - 1).bit_length() + (filters - 1) * parent_bits(filters),
    )


def _farthest(edges: Any, start: int) -> int:
    """The vertex that breadth-first search from `start` reaches last: an end of a longest path from there."""
    from scipy.sparse.csgraph import breadth_first_order

    order, _ = breadth_first_order(edges, start, directed=False)
    return int(order[-1])
