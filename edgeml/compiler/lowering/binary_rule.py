"""Convolutions of signs: one kernel packs the signs of the input, another counts the bits that differ."""

from __future__ import annotations

import numpy as np

from edgeml.compiler.binary_operator import BinaryGeometry
from edgeml.compiler.kernels.binary_convolution import BinaryConvolution
from edgeml.compiler.kernels.sign_bits import SignBits
from edgeml.compiler.lowering.graph import Node
from edgeml.compiler.lowering.group import Group, Plan
from edgeml.compiler.lowering.values import Values, constant, image_shape


def binary_convolution(plan: Plan, node: Node) -> Group | None:
    """The group of a binary convolution; None where its size or one of its constants is unknown."""
    source, *others = node.arguments[:-1]
    image, result = image_shape(source), image_shape(node.var)
    weights, threshold, scale, bias = (plan.graph.constant(each) for each in others)
    if image is None or result is None or len(image.pixels) != 2:
        return None
    if weights is None or threshold is None or scale is None or bias is None:
        return None
    geometry, chain = BinaryGeometry.of(node.expr), plan.chain(node)
    rows, columns = geometry.axes(*image.pixels)
    signs = SignBits(isa=plan.isa, batch=image.samples, pixels=image.pixels, channels=image.channels)
    kernel = BinaryConvolution(
        isa=plan.isa,
        batch=image.samples,
        rows=rows,
        columns=columns,
        channels_in=image.channels,
        channels_out=result.channels,
        groups=geometry.group,
        epilogue=chain.epilogue,
    )
    if chain.scale is not None:
        scale, bias = scale * chain.scale, bias * chain.scale
    if chain.bias is not None:
        bias = bias + chain.bias
    packed = kernel.pack(geometry.negative(weights, image.channels), scale.astype(np.float32), bias.astype(np.float32))
    thresholds = signs.pack(threshold)

    def emit(values: Values) -> None:
        bits = values.call(signs.kernel(), [values.packed(source), constant(thresholds)], image)
        arguments = [bits, *map(constant, packed), *map(values.operand, chain.operands)]
        values.set_packed(chain.var, values.call(kernel.kernel(), arguments, image))

    nodes = (node, *chain.absorbed)
    return Group("binary", "binary", nodes[-1], nodes, emit)
