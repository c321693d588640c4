"""Pooling over windows, and the mean over all pixels."""

from __future__ import annotations

from edgeml.compiler.kernels.pooling import GlobalAverage, Pooling
from edgeml.compiler.kernels.window import Axis
from edgeml.compiler.lowering.graph import Node, dtype_of
from edgeml.compiler.lowering.group import Group, Plan
from edgeml.compiler.lowering.quantization import dequantize_of
from edgeml.compiler.lowering.values import Values, image_shape


def is_global_average(node: Node) -> bool:
    """Whether a node takes the mean of float32 images over height and width."""
    if dtype_of(node.var) != "float32" or node.operator not in {"mean", "nn.adaptive_avg_pool2d"}:
        return False
    image = image_shape(node.arguments[0])
    if image is None or len(image.pixels) != 2:
        return False
    if node.operator == "nn.adaptive_avg_pool2d":
        result = image_shape(node.var)
        return str(node.attributes.layout) == "NCHW" and result is not None and result.pixels == (1, 1)
    return sorted(int(axis) % 4 for axis in node.attributes.axis or ()) == [2, 3]


def global_average(plan: Plan, node: Node) -> Group | None:
    """The group of a mean over all pixels."""
    if not is_global_average(node):
        return None
    source = node.arguments[0]
    image, coded = image_shape(source), dequantize_of(plan.graph, source)
    assert image is not None, "is_global_average has looked"
    kernel = GlobalAverage(
        isa=plan.isa,
        batch=image.samples,
        pixels=image.count,
        channels=image.channels,
        quantization=coded.quantization if coded else None,
    )

    def emit(values: Values) -> None:
        values.set_packed(
            node.var, values.call(kernel.kernel(), [values.packed(coded.codes if coded else source)], image)
        )

    return Group("global_average", "fp32", node, (node,), emit)


def pooling(plan: Plan, node: Node) -> Group | None:
    """The group of a max_pool2d or avg_pool2d node; None for rounding up, whose windows pass the padded image."""
    source, attributes = node.arguments[0], node.attributes
    image, result = image_shape(source), image_shape(node.var)
    maximum = node.operator == "nn.max_pool2d"
    dtype = dtype_of(source)
    if image is None or result is None or dtype not in ({"float32", "uint8", "int8"} if maximum else {"float32"}):
        return None
    top, left, bottom, right = (int(value) for value in attributes.padding)
    axes = [
        Axis(size_in=size, taps=int(taps), stride=int(stride), pad_begin=begin, pad_end=end, dilation=int(dilation))
        for size, taps, stride, begin, end, dilation in zip(
            image.pixels,
            attributes.pool_size,
            attributes.strides,
            (top, left),
            (bottom, right),
            attributes.dilation,
            strict=True,
        )
    ]
    if str(attributes.layout) != "NCHW" or result.pixels != tuple(axis.size_out for axis in axes):
        return None
    kernel = Pooling(
        isa=plan.isa,
        batch=image.samples,
        rows=axes[0],
        columns=axes[1],
        channels=image.channels,
        operator="max" if maximum else "average",
        count_padding=bool(attributes.count_include_pad),
        dtype=dtype,
    )

    def emit(values: Values) -> None:
        values.set_packed(node.var, values.call(kernel.kernel(), [values.packed(source)], image))

    return Group("max_pool" if maximum else "average_pool", "fp32", node, (node,), emit)
