"""Squeeze-and-excitation: channel means, two small layers with activations, a gate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeml.compiler.kernels.squeeze_excite import SqueezeExcite
from edgeml.compiler.lowering.chain import Chain
from edgeml.compiler.lowering.graph import Expr, Node
from edgeml.compiler.lowering.group import Group, Plan
from edgeml.compiler.lowering.quantization import dequantize_of
from edgeml.compiler.lowering.values import Values, constant, image_shape

# Above so many weights two dense kernels, which use all threads, are faster than one that does not.
_MOST_WEIGHTS = 1 << 20


@dataclass(frozen=True)
class _Layer:
    weights: npt.NDArray[np.float32]
    chain: Chain
    node: Node

    @property
    def scaled(self) -> npt.NDArray[np.float32]:
        return self.weights if self.chain.scale is None else self.weights * self.chain.scale.reshape(-1, 1)


def squeeze_excite(plan: Plan, node: Node) -> Group | None:
    """The group that begins with a convolution of a 1x1 image, or a dense layer, and ends with a gate's activation."""
    source = node.arguments[0]
    image = image_shape(source)
    if image is None or image.count != 1 or dequantize_of(plan.graph, source) is not None:
        return None
    first = _layer(plan, node)
    if first is None:
        return None
    follower = plan.graph.only_user(first.chain.var)
    second = _layer(plan, follower) if follower is not None and follower not in plan.taken else None
    if second is None or second.weights.shape != first.weights.shape[::-1]:
        return None
    before, after = first.chain.activation, second.chain.activation
    if before is None or after is None or first.weights.size > _MOST_WEIGHTS:
        return None
    kernel = SqueezeExcite(
        isa=plan.isa,
        batch=image.samples,
        channels=image.channels,
        reduced=first.weights.shape[0],
        first=before,
        second=after,
    )
    arrays = kernel.pack(first.scaled, first.chain.bias, second.scaled, second.chain.bias)

    def emit(values: Values) -> None:
        arguments = [values.packed(source), *map(constant, arrays)]
        values.set_packed(second.chain.var, values.call(kernel.kernel(), arguments, image))

    nodes = (first.node, *first.chain.absorbed, second.node, *second.chain.absorbed)
    return Group("squeeze_excite", "fp32", nodes[-1], nodes, emit)


def _layer(plan: Plan, node: Node) -> _Layer | None:
    """A dense layer, or a 1x1 convolution of a 1x1 image, with constant weights (outputs, inputs)."""
    weights = plan.graph.constant(node.arguments[1]) if len(node.arguments) > 1 else None
    image = image_shape(node.arguments[0]) if node.arguments else None
    if weights is None or weights.dtype != np.float32 or image is None:
        return None
    if node.operator == "matmul" and not image.pixels and weights.ndim == 2:
        matrix = weights.T
    elif node.operator == "nn.conv2d" and _is_plain(node) and weights.shape[2:] == (1, 1) and image.pixels == (1, 1):
        matrix = weights.reshape(weights.shape[:2])
    else:
        return None
    chain = plan.chain(node)
    return None if _changes_layout(chain.var) else _Layer(matrix, chain, node)


def _changes_layout(var: Expr) -> bool:
    image = image_shape(var)
    return image is None or image.count != 1


def _is_plain(node: Node) -> bool:
    attributes = node.attributes
    return int(attributes.groups) == 1 and not any(int(pad) for pad in attributes.padding)
