"""Stores a layer's binary filters as one filter and the few bits in which each other filter differs from a relative.

The filters form a tree (Vo et al., "MST-compression", ICCV 2023): its root is kept in full; of every other filter its
parent and the places where it differs are kept. All differences are one string of bits, filter after filter without
the root, each filled up to whole bytes. The gaps between its set bits, and to its end, follow Golomb-Rice's code
(Rice, 1979) in two strings: quotients, as so many zeros and a one; and remainders, of `rice_parameter` bits each. In
all strings the least significant bit of a byte comes first.

This never takes more than the differing places themselves: with L = ceil(log2 N) bits for a place in a filter of N
bits, parameter L - 1 spends L bits a gap and at most one more for each 2^(L - 1) bits passed over, about 2 a filter,
where a list of places needs each filter's count besides. Where 3/8 of the bits or more differ no parameter pays, and
filters are best kept as they are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeml.core.errors import UsageError

MAX_RICE_PARAMETER = 30
MAX_FILTERS = 1 << 16
# Trees rooted at their centre exceed it with more than 2047 filters at the earliest.
MAX_DEPTH = (1 << 10) - 1


@dataclass(frozen=True, kw_only=True)
class CodedTree:
    """The tree of one layer's filters, as a file holds it.

    Attributes:
        root_index: which filter is kept in full.
        rice_parameter: bits of a remainder, 1 to 30.
        root: uint8 (bytes of a filter): the bits of that filter.
        parents: uint8: the other filters' parents, `parent_bits` bits each, in order of the filters.
        quotients: uint8: unary quotients of the gaps.
        remainders: uint8: remainders of the gaps.
    """

    root_index: int
    rice_parameter: int
    root: npt.NDArray[np.uint8]
    parents: npt.NDArray[np.uint8]
    quotients: npt.NDArray[np.uint8]
    remainders: npt.NDArray[np.uint8]

    @property
    def size_bytes(self) -> int:
        """Bytes of all arrays together."""
        return sum(array.size for array in (self.root, self.parents, self.quotients, self.remainders))


def parent_bits(filters: int) -> int:
    """Bits of the index of one of `filters` filters, at least 1."""
    return max(1, (filters - 1).bit_length())


def encode(weights: npt.NDArray[np.uint8], parents: npt.NDArray[np.int64]) -> CodedTree:
    """The coded form of packed filters and their tree; `decode` is its inverse up to `MAX_DEPTH`.

    Args:
        weights: uint8 (filters, bytes of a filter), packed with the least significant bit first; 2 filters or more.
        parents: int64 (filters): the parent of each filter; the root is its own.

    Raises:
        UsageError: `parents` is not a tree.
    """
    filters, width = weights.shape
    if not 2 <= filters <= MAX_FILTERS:
        raise UsageError(f"a tree holds 2 to {MAX_FILTERS} filters, not {filters}")
    root = int(np.argmax(parents == np.arange(filters)))
    levels(parents)
    others = np.arange(filters) != root
    differences = weights[others] ^ weights[parents[others]]
    places = np.flatnonzero(np.unpackbits(differences, bitorder="little"))
    gaps = np.diff(np.append(places, (filters - 1) * width * 8), prepend=-1) - 1
    parameter = min(range(1, MAX_RICE_PARAMETER + 1), key=lambda bits: int((gaps >> bits).sum()) + gaps.size * bits)
    ends = np.cumsum((gaps >> parameter) + 1) - 1
    unary = np.zeros(int(ends[-1]) + 1, np.uint8)
    unary[ends] = 1
    return CodedTree(
        root_index=root,
        rice_parameter=parameter,
        root=weights[root].copy(),
        parents=_pack_fields(parents[others], parent_bits(filters)),
        quotients=np.packbits(unary, bitorder="little"),
        remainders=_pack_fields(gaps & ((1 << parameter) - 1), parameter),
    )


def decode(tree: CodedTree, filters: int) -> npt.NDArray[np.uint8]:
    """The packed filters, uint8 (filters, bytes of a filter).

    Raises:
        UsageError: the arrays are not the coded form of so many filters.
    """
    parents = decode_parents(tree, filters)
    result = np.zeros((filters, tree.root.size), np.uint8)
    others = np.arange(filters) != tree.root_index
    result[others] = decode_differences(tree, filters)
    result[tree.root_index] = tree.root
    for level in check_depth(parents)[1:]:
        result[level] ^= result[parents[level]]
    return result


def decode_parents(tree: CodedTree, filters: int) -> npt.NDArray[np.int64]:
    """The parent of each filter, int64 (filters); the root is its own. Raises UsageError like `decode`."""
    if not 2 <= filters <= MAX_FILTERS or not 0 <= tree.root_index < filters:
        raise UsageError(f"a tree of {filters} filters (2 to {MAX_FILTERS} allowed) cannot have root {tree.root_index}")
    others = np.arange(filters) != tree.root_index
    parents = np.full(filters, tree.root_index, np.int64)
    parents[others] = _unpack_fields(tree.parents, parent_bits(filters), filters - 1, "parents")
    if int(parents.max()) >= filters:
        raise UsageError(f"a filter's parent is {int(parents.max())}; there are only {filters} filters")
    return parents


def decode_differences(tree: CodedTree, filters: int) -> npt.NDArray[np.uint8]:
    """Where each filter but the root differs from its parent: uint8 (filters - 1, bytes of a filter), packed.

    Raises:
        UsageError: the gaps do not fill so many filters exactly.
    """
    if not 1 <= tree.rice_parameter <= MAX_RICE_PARAMETER:
        raise UsageError(f"rice_parameter is {tree.rice_parameter}; it must be 1 to {MAX_RICE_PARAMETER}")
    ends = np.flatnonzero(np.unpackbits(tree.quotients, bitorder="little"))
    quotients = np.diff(ends, prepend=-1) - 1
    remainders = _unpack_fields(tree.remainders, tree.rice_parameter, ends.size, "remainders")
    places = np.cumsum((quotients << tree.rice_parameter) + remainders + 1) - 1
    size = (filters - 1) * tree.root.size * 8
    if not places.size or int(places[-1]) != size:
        found = int(places[-1]) if places.size else 0
        raise UsageError(f"the coded differences fill {found} bits; {filters} filters need {size}")
    bits = np.zeros(size, np.uint8)
    bits[places[:-1]] = 1
    return np.packbits(bits, bitorder="little").reshape(filters - 1, tree.root.size)


def check_depth(parents: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
    """The levels of a tree that the operator can hold.

    Raises:
        UsageError: `parents` is not a tree, or one deeper than 1023 filters below the root.
    """
    found = levels(parents)
    if len(found) - 1 > MAX_DEPTH:
        raise UsageError(f"the tree is {len(found) - 1} filters deep; the operator's body reaches {MAX_DEPTH}")
    return found


def levels(parents: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
    """The filters by their distance from the root, each level in ascending order; the first holds the root alone.

    Raises:
        UsageError: `parents` is not one tree: no root or several, or a circle.
    """
    indices = np.arange(parents.size)
    found = [indices[parents == indices]]
    if found[0].size != 1:
        raise UsageError(f"a tree has one root; {found[0].size} filters are their own parents")
    order = np.argsort(parents, kind="stable")
    starts = np.searchsorted(parents[order], np.arange(parents.size + 1))
    reached = 1
    while found[-1].size:
        children = [order[starts[each] : starts[each + 1]] for each in found[-1]]
        level = np.sort(np.concatenate(children))
        found.append(level[level != found[0][0]])
        reached += found[-1].size
    if reached != parents.size:
        raise UsageError(f"{parents.size - reached} of {parents.size} filters do not descend from the root")
    return found[:-1]


def _pack_fields(values: npt.NDArray[np.int64], width: int) -> npt.NDArray[np.uint8]:
    bits = (values[:, None] >> np.arange(width)) & 1
    return np.packbits(bits.astype(np.uint8).ravel(), bitorder="little")


def _unpack_fields(packed: npt.NDArray[np.uint8], width: int, count: int, name: str) -> npt.NDArray[np.int64]:
    if packed.size != (count * width + 7) // 8:
        raise UsageError(
            f"{name} has {packed.size} bytes; {count} fields of {width} bits take {(count * width + 7) // 8}"
        )
    bits = np.unpackbits(packed, count=count * width, bitorder="little").reshape(count, width)
    return bits.astype(np.int64) @ (np.int64(1) << np.arange(width, dtype=np.int64))
