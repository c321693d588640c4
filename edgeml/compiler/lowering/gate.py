"""Recognizes a tensor multiplied by a gate per sample and channel, as squeeze-and-excitation ends."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgeml.compiler.lowering.graph import Expr, Node, dtype_of
from edgeml.compiler.lowering.group import Plan
from edgeml.compiler.lowering.values import image_shape


@dataclass(frozen=True)
class Gated:
    """`node` = value * gate.

    Attributes:
        value: (batch, channels, height, width).
        gate: (batch, channels, 1, 1).
        node: the multiplication.
    """

    value: Expr
    gate: Expr
    node: Node


def gated(plan: Plan, node: Node | None) -> Gated | None:
    """The multiplication by a gate that a node is, or None."""
    if node is None or node.operator != "multiply" or dtype_of(node.var) != "float32":
        return None
    whole = image_shape(node.var)
    if whole is None or whole.count == 1 or len(whole.pixels) != 2:
        return None
    for value, gate in (node.arguments, reversed(node.arguments)):
        image, scale = image_shape(value), image_shape(gate)
        if image is None or scale is None or plan.graph.constant(gate) is not None:
            continue
        same_batch = whole.samples == scale.samples and (whole.batch is None or whole.batch.same_as(scale.batch))
        if same_batch and image == whole and scale.pixels == (1, 1) and scale.channels == whole.channels:
            return Gated(value, gate, node)
    return None


def gate_of(plan: Plan, source: Expr, reader: Node) -> Gated | None:
    """The gate that a 1x1 convolution can take along: its input's, where nobody else reads the product."""
    found = gated(plan, plan.graph.producer(source))
    if found is None or found.node in plan.taken or plan.graph.only_user(source) is not reader:
        return None
    return found


def is_left_to_convolution(plan: Plan, node: Node) -> bool:
    """Whether a multiplication by a gate is read by a 1x1 convolution alone, which takes it along."""
    if gated(plan, node) is None:
        return False
    user = plan.graph.only_user(node.var)
    if user is None or user.operator != "nn.conv2d" or user in plan.taken or not user.arguments[0].same_as(node.var):
        return False
    weights, attributes = plan.graph.constant(user.arguments[1]), user.attributes
    return (
        weights is not None
        and weights.dtype == np.float32
        and weights.shape[2:] == (1, 1)
        and int(attributes.groups) == 1
        and str(attributes.data_layout) == "NCHW"
        and str(attributes.kernel_layout) == "OIHW"
        and all(int(stride) == 1 for stride in attributes.strides)
        and not any(int(pad) for pad in attributes.padding)
    )
