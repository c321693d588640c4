"""Reshapes that move nothing."""

from __future__ import annotations

from tvm import relax

from edgeml.compiler.lowering.graph import Expr, Node
from edgeml.compiler.lowering.group import Group, Plan
from edgeml.compiler.lowering.values import Values, image_shape


def reshape(plan: Plan, node: Node) -> Group | None:
    """The group of a reshape between (batch, channels, 1, 1) and (batch, channels), which moves nothing."""
    source = node.arguments[0]
    before, after = image_shape(source), image_shape(node.var)
    if before is None or after is None or before.count != 1 or after.count != 1 or before.channels != after.channels:
        return None
    if plan.graph.constant(source) is not None:
        return None

    def emit(values: Values) -> None:
        if values.is_packed(source):
            values.set_packed(node.var, values.packed(source))
        else:
            values.set_model(node.var, values.builder.emit(_reshaped(values.model(source), node)))

    return Group("", "fp32", node, (node,), emit)


def _reshaped(source: Expr, node: Node) -> Expr:
    return relax.op.reshape(source, relax.ShapeExpr(list(node.var.ty.shape)))
