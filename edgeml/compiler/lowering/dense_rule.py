"""Dense layers: a matrix (batch, channels) times constant weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeml.compiler.kernels.pointwise import Pointwise
from edgeml.compiler.kernels.quantized_pointwise import QuantizedPointwise
from edgeml.compiler.lowering.graph import Node
from edgeml.compiler.lowering.group import Group, Plan
from edgeml.compiler.lowering.quantization import coded_weights_of, dequantize_of
from edgeml.compiler.lowering.values import Values, constant, image_shape


def dense(plan: Plan, node: Node) -> Group | None:
    """The group of a matmul node; None where the right-hand side is no constant matrix."""
    source = node.arguments[0]
    image, weights = image_shape(source), plan.graph.constant(node.arguments[1])
    if image is None or image.pixels or weights is None or weights.ndim != 2 or weights.dtype != np.float32:
        return None
    chain = plan.chain(node)
    common: dict[str, Any] = {
        "isa": plan.isa,
        "batch": image.samples,
        "pixels": 1,
        "channels_in": image.channels,
        "channels_out": int(weights.shape[1]),
        "epilogue": chain.epilogue,
    }
    coded, codes = dequantize_of(plan.graph, source), coded_weights_of(plan.graph, node.arguments[1], 1)
    kernel: Pointwise | QuantizedPointwise
    arrays: tuple[Any, ...]
    if coded is not None and codes is not None:
        scales = codes.scales if chain.scale is None else codes.scales * chain.scale
        kernel = quantized = QuantizedPointwise(source=coded.quantization, **common)
        arrays = quantized.pack(np.ascontiguousarray(codes.codes.T), scales, chain.bias)
    else:
        kernel = exact = Pointwise(**common)
        arrays = exact.pack((weights if chain.scale is None else weights * chain.scale).T, chain.bias)
    read = coded.codes if coded is not None and codes is not None else source

    def emit(values: Values) -> None:
        arguments = [values.packed(read), *map(constant, arrays), *map(values.operand, chain.operands)]
        values.set_packed(chain.var, values.call(kernel.kernel(), arguments, image))

    nodes = (node, *chain.absorbed)
    return Group("dense", "fp32" if read is source else "int8", nodes[-1], nodes, emit)
