"""Softmax over channels."""

from __future__ import annotations

from edgeml.compiler.kernels.softmax import Softmax
from edgeml.compiler.lowering.graph import Node, dtype_of
from edgeml.compiler.lowering.group import Group, Plan
from edgeml.compiler.lowering.values import Values, image_shape


def softmax(plan: Plan, node: Node) -> Group | None:
    """The group of a softmax over the channels of (batch, channels)."""
    source = node.arguments[0]
    image = image_shape(source)
    if image is None or image.pixels or int(node.attributes.axis) not in {1, -1} or dtype_of(source) != "float32":
        return None
    kernel = Softmax(isa=plan.isa, batch=image.samples, pixels=(), channels=image.channels)

    def emit(values: Values) -> None:
        values.set_packed(node.var, values.call(kernel.kernel(), [values.packed(source)], image))

    return Group("softmax", "fp32", node, (node,), emit)
