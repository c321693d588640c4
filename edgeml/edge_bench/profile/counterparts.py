"""Finds for every node that was executed the one it was before onnxruntime changed layouts.

With all optimizations on, onnxruntime rounds channels up to whole blocks (its layout "NCHWc"), moves them last, and
keeps weights in copies of its own that the trace does not show. The same model one level lower, where all fusions are
done and no layout is changed, tells the shapes that the model really has.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from edgeml.edge_bench.profile.trace import TracedNode

LARGEST_BLOCK = 16
"""Channels in a block of NCHWc on the widest processor."""

# With its activation in it a convolution is another operator outside of blocks, the same one in them.
_CONVOLUTIONS = frozenset({"Conv", "FusedConv"})
# What onnxruntime appends where it makes another node of that name.
_MADE_UNIQUE = re.compile(r"_token_\d+$")


def counterparts(executed: Sequence[TracedNode], plain: Sequence[TracedNode]) -> list[TracedNode | None]:
    """For each executed node the node of `plain` that it was; None where there is none, as for a change of layout.

    A node keeps its name, but for convolutions in blocks, which are called after their output: those are paired by
    shape, in order.
    """
    by_name = {(node.name, node.operator): node for node in plain}
    found = [by_name.get((_MADE_UNIQUE.sub("", node.name), node.operator)) for node in executed]
    taken = {id(node) for node in found if node is not None}
    left = [node for node in plain if node.operator in _CONVOLUTIONS and id(node) not in taken]
    for index, node in enumerate(executed):
        if found[index] is None and node.operator in _CONVOLUTIONS:
            match = next((other for other in left if _is_in_blocks(node, other)), None)
            if match is not None:
                left.remove(match)
                found[index] = match
    return found


def _is_in_blocks(node: TracedNode, plain: TracedNode) -> bool:
    """Whether the first convolution is the second with its channels filled up to whole blocks."""
    if len(node.inputs) < 2 or len(plain.inputs) < 2:
        return False
    pairs = (
        (node.inputs[1].shape[:2], plain.inputs[1].shape[:2]),
        (node.outputs[0].shape[1:2], plain.outputs[0].shape[1:2]),
    )
    return (
        node.inputs[1].shape[2:] == plain.inputs[1].shape[2:]
        and node.outputs[0].shape[2:] == plain.outputs[0].shape[2:]
        and all(0 <= more - less < LARGEST_BLOCK for wide, own in pairs for more, less in zip(wide, own, strict=True))
    )
