"""Turns TreeBinaryConv back into the BinaryConv that it stands for, for readers that have no use for trees."""

from __future__ import annotations

from collections.abc import Container
from typing import TYPE_CHECKING

from edgeml.ops import binary_conv, tree_binary_conv
from edgeml.ops.domain import DOMAIN

if TYPE_CHECKING:
    import onnx


def is_tree(node: onnx.NodeProto) -> bool:
    """Whether a node is a TreeBinaryConv."""
    return bool(node.domain == DOMAIN and node.op_type == tree_binary_conv.NAME)


def _is_whole(node: onnx.NodeProto) -> bool:
    """Whether it has the inputs and attributes that it must have."""
    given = {attribute.name for attribute in node.attribute}
    return len(node.input) == len(tree_binary_conv.INPUTS) and given >= set(tree_binary_conv.REQUIRED)


def expand_trees(model: onnx.ModelProto, outputs: Container[str] | None = None) -> onnx.ModelProto:
    """The model with TreeBinaryConv nodes as BinaryConv ones, their filters decoded; the argument is left alone.

    Nodes whose tree is no constant stay as they are, and so do the functions of the model.

    Args:
        model: any model; one without trees is returned as it is.
        outputs: names of the outputs of nodes to expand; None expands all.

    Raises:
        UsageError: a tree's arrays are no tree.
    """
    import onnx
    from onnx import helper, numpy_helper

    from edgeml.ops.tree_coding import CodedTree, decode

    if not any(is_tree(node) for node in model.graph.node):
        return model
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    constants = _constants(copy)
    for node in copy.graph.node:
        if not is_tree(node) or not _is_whole(node) or (outputs is not None and node.output[0] not in outputs):
            continue
        x, *coded, threshold, scale, bias = node.input
        if any(name not in constants for name in (*coded, scale)):
            continue
        attributes = {each.name: helper.get_attribute_value(each) for each in node.attribute}
        arrays = {
            part: numpy_helper.to_array(constants[name])
            for part, name in zip(tree_binary_conv.TREE_INPUTS, coded, strict=True)
        }
        tree = CodedTree(
            root_index=attributes.pop("root_index"), rice_parameter=attributes.pop("rice_parameter"), **arrays
        )
        filters = f"{node.output[0]}_filters"
        copy.graph.initializer.append(numpy_helper.from_array(decode(tree, constants[scale].dims[0]), filters))
        inputs = [x, filters, threshold, scale, bias]
        node.CopyFrom(binary_conv.node(inputs, node.output[0], name=node.name, **attributes))
    return copy


def _constants(model: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    """Tensors that are known, by name."""
    found = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and len(node.attribute) == 1 and node.attribute[0].HasField("t"):
            found[node.output[0]] = node.attribute[0].t
    return found
