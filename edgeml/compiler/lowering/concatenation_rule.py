"""Concatenation of packed images along their channels."""

from __future__ import annotations

from tvm import relax

from edgeml.compiler.kernels.concatenate import Concatenate
from edgeml.compiler.lowering.graph import Node, dtype_of
from edgeml.compiler.lowering.group import Group, Plan
from edgeml.compiler.lowering.values import Values, image_shape


def concatenation(plan: Plan, node: Node) -> Group | None:
    """The group of a concat node along axis 1; None where an input is a constant or no image."""
    parts = node.arguments[0]
    axis, whole, dtype = node.attributes.axis, image_shape(node.var), dtype_of(node.var)
    if whole is None or axis is None or int(axis) not in {1, 1 - len(whole.pixels) - 2}:
        return None
    if not isinstance(parts, relax.Tuple) or dtype not in {"float32", "uint8", "int8"}:
        return None
    sources = [plan.graph.resolve(part) for part in parts.fields]
    images = [image_shape(source) for source in sources]
    known = [image for image in images if image is not None]
    if len(known) != len(images) or any(plan.graph.constant(source) is not None for source in sources):
        return None
    kernel = Concatenate(
        isa=plan.isa,
        batch=whole.samples,
        pixels=whole.pixels,
        channels=tuple(image.channels for image in known),
        dtype=dtype,
    )

    def emit(values: Values) -> None:
        arguments = [values.packed(source) for source in sources]
        values.set_packed(node.var, values.call(kernel.kernel(), arguments, whole))

    return Group("concatenate", "fp32", node, (node,), emit)
