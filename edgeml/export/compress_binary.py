"""Stores the binary filters of an ONNX graph as trees of differences, layer by layer where that takes less room."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeml.models.binary.mst import TreeStatistics, spanning_tree, statistics
from edgeml.ops import binary_conv, tree_binary_conv
from edgeml.ops.attach import attach_functions
from edgeml.ops.domain import DOMAIN
from edgeml.ops.tree_coding import MAX_DEPTH, MAX_FILTERS, CodedTree, decode, decode_parents, encode

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt
    import onnx


@dataclass(frozen=True, kw_only=True)
class LayerCompression:
    """One binary convolution before and after.

    Attributes:
        name: of the node.
        tree: what its tree saves.
        compressed: whether the file holds the tree; False where the filters as they are take no more room.
        output_pixels: of one image, by which bit-operations multiply; None where the graph leaves the size open.
    """

    name: str
    tree: TreeStatistics
    compressed: bool
    output_pixels: int | None

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        tree = self.tree.to_json()
        return {"name": self.name, "compressed": self.compressed, "output_pixels": self.output_pixels, **tree}


@dataclass(frozen=True, kw_only=True)
class CompressionReport:
    """What trees make of a network's binary convolutions.

    Bit-operations are those of a kernel that reuses counts along the tree; whether that takes less time than the dense
    kernel is another question, which only measuring answers.

    Attributes:
        layers: each binary convolution.
    """

    layers: tuple[LayerCompression, ...]

    @property
    def bits_before(self) -> int:
        """Bits of the filters as they are."""
        return sum(layer.tree.dense_storage_bits for layer in self.layers)

    @property
    def bits_after(self) -> int:
        """Bits of the filters in the file."""
        return sum(
            layer.tree.tree_storage_bits if layer.compressed else layer.tree.dense_storage_bits for layer in self.layers
        )

    @property
    def bit_operations_before(self) -> int | None:
        """Of one image, every filter on its own; None where an image's size is open."""
        return self._over_pixels([layer.tree.dense_bit_operations for layer in self.layers])

    @property
    def bit_operations_after(self) -> int | None:
        """Of one image, with the trees in the file."""
        return self._over_pixels(
            [
                layer.tree.tree_bit_operations if layer.compressed else layer.tree.dense_bit_operations
                for layer in self.layers
            ]
        )

    @property
    def depth(self) -> int:
        """Of the deepest tree in the file."""
        return max((layer.tree.depth for layer in self.layers if layer.compressed), default=0)

    @property
    def mean_edge(self) -> float:
        """Mean share of a filter's bits that differ from its parent's, over all bits of all layers."""
        places = sum((layer.tree.filters - 1) * layer.tree.filter_bits for layer in self.layers)
        return sum(layer.tree.differing_bits for layer in self.layers) / max(1, places)

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "bits_before": self.bits_before,
            "bits_after": self.bits_after,
            "bit_operations_before": self.bit_operations_before,
            "bit_operations_after": self.bit_operations_after,
            "depth": self.depth,
            "mean_edge": self.mean_edge,
            "layers": [layer.to_json() for layer in self.layers],
        }

    def _over_pixels(self, operations: list[int]) -> int | None:
        total = 0
        for layer, each in zip(self.layers, operations, strict=True):
            if layer.output_pixels is None:
                return None
            total += each * layer.output_pixels
        return total


def compress(model: onnx.ModelProto) -> CompressionReport:
    """Put TreeBinaryConv for each BinaryConv of the main graph whose filters take less room as a tree.

    The graph computes the same integers. Filters that the graph computes, or that other nodes read too, stay; so do
    nodes inside sub-graphs, and all where together they save less than the operator's body takes. Layers that are
    trees already are reported as they are.

    Args:
        model: changed in place; its edgeml functions are replaced by those it then calls.
    """
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    found = [entry for node in model.graph.node if (entry := _find(node, tensors)) is not None]
    readers = [name for node in model.graph.node for name in node.input]
    smaller = [each for each in found if each.is_smaller and readers.count(each.node.input[1]) == 1]
    stored = [each for each in found if each.is_stored]
    saved = sum(each.tree.dense_storage_bits - each.tree.tree_storage_bits for each in smaller) // 8
    if stored or saved > tree_binary_conv.function().ByteSize():
        for each in smaller:
            _rewrite(model.graph, each.node, tensors[each.node.input[1]], encode(each.weights, each.parents))
        stored += smaller
        attach_functions(model)
    names = {each.node.output[0] for each in stored}
    pixels = _output_pixels(model)
    return CompressionReport(
        layers=tuple(
            LayerCompression(
                name=each.node.name or each.node.output[0],
                tree=each.tree,
                compressed=each.node.output[0] in names,
                output_pixels=pixels.get(each.node.output[0]),
            )
            for each in found
        )
    )


@dataclass(frozen=True)
class _Found:
    """A binary convolution with its filters and their tree, the stored one or the least."""

    node: onnx.NodeProto
    weights: npt.NDArray[np.uint8]
    parents: npt.NDArray[np.int64]
    tree: TreeStatistics
    is_stored: bool

    @property
    def is_smaller(self) -> bool:
        fits = len(self.weights) <= MAX_FILTERS and self.tree.depth <= MAX_DEPTH
        return fits and not self.is_stored and self.tree.tree_storage_bits < self.tree.dense_storage_bits


def _find(node: onnx.NodeProto, tensors: Mapping[str, onnx.TensorProto]) -> _Found | None:
    """The node's filters, where it is a binary convolution whose filters the model holds."""
    from onnx import numpy_helper

    if node.domain != DOMAIN or node.op_type not in {binary_conv.NAME, tree_binary_conv.NAME}:
        return None
    attributes = {entry.name: entry for entry in node.attribute}
    height, width = attributes["kernel_shape"].ints
    group = attributes["group"].i if "group" in attributes else 1
    bits = attributes["channels"].i // group * height * width
    is_stored = node.op_type == tree_binary_conv.NAME
    if not all(name in tensors for name in node.input[1:]):
        return None
    arrays = [numpy_helper.to_array(tensors[name]) for name in node.input[1:]]
    if is_stored:
        root, parts, quotients, remainders, _, scale, _ = arrays
        coded = CodedTree(
            root_index=attributes["root_index"].i,
            rice_parameter=attributes["rice_parameter"].i,
            root=root,
            parents=parts,
            quotients=quotients,
            remainders=remainders,
        )
        weights, parents = decode(coded, len(scale)), decode_parents(coded, len(scale))
    else:
        weights = arrays[0]
        parents = spanning_tree(weights, bits)
    return _Found(node, weights, parents, statistics(weights, bits, parents), is_stored)


def _output_pixels(model: onnx.ModelProto) -> dict[str, int]:
    """Height times width of the values that have both."""
    found = {}
    for value in (*model.graph.value_info, *model.graph.output):
        dims = value.type.tensor_type.shape.dim
        if len(dims) == 4 and dims[2].dim_value and dims[3].dim_value:
            found[value.name] = dims[2].dim_value * dims[3].dim_value
    return found


def _rewrite(graph: onnx.GraphProto, node: onnx.NodeProto, weights: onnx.TensorProto, tree: CodedTree) -> None:
    """Make the BinaryConv `node` a TreeBinaryConv; the tree's arrays take the place of its filters."""
    from onnx import helper, numpy_helper

    arrays = {"root": tree.root, "parents": tree.parents, "quotients": tree.quotients, "remainders": tree.remainders}
    names = {part: f"{weights.name}_{part}" for part in arrays}
    node.op_type = tree_binary_conv.NAME
    node.input[:] = [node.input[0], *names.values(), *node.input[2:]]
    node.attribute.append(helper.make_attribute("root_index", tree.root_index))
    node.attribute.append(helper.make_attribute("rice_parameter", tree.rice_parameter))
    graph.initializer.remove(weights)
    graph.initializer.extend(numpy_helper.from_array(array, names[part]) for part, array in arrays.items())
