"""Counts an operator's multiply-accumulates from the shapes it reads and writes.

Padding counts, as in published figures: every output takes all products of its filter. Operators without a sum of
products (activations, pooling, layout changes) have no count.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from edgeml.edge_bench.profile.trace import Tensor

Tensors = Sequence[Tensor]

BINARY = frozenset({"BinaryConv", "BinaryDense", "PackedBinaryConv", "PackedBinaryConvSum", "TreeBinaryConv"})
"""Operators whose products are of single bits; ai.edgeml's own and those that fusing makes of them."""


def macs(operator: str, inputs: Tensors, outputs: Tensors) -> int | None:
    """Multiply-accumulates of one call; None where the operator has none, or its shapes do not tell.

    Args:
        operator: the node's type.
        inputs: in the operator's order, weights among them.
        outputs: in the operator's order.
    """
    count = _COUNTS.get(operator)
    if count is None:
        return None
    try:
        return count(inputs, outputs)
    except (IndexError, ValueError, ZeroDivisionError):  # an input is left out: rearranged, or optional
        return None


def _convolution(weights: int) -> Callable[[Tensors, Tensors], int | None]:
    """Of a convolution with weights (channels out, channels in / groups, kernel axes) as input number `weights`."""

    def count(inputs: Tensors, outputs: Tensors) -> int | None:
        filters = inputs[weights].shape
        return outputs[0].elements * math.prod(filters[1:]) if len(filters) > 2 else None

    return count


def _transposed_convolution(inputs: Tensors, _: Tensors) -> int | None:
    """Of weights (channels in, channels out / groups, kernel axes): each input is multiplied by all of its filter."""
    filters = inputs[1].shape
    return inputs[0].elements * math.prod(filters[1:]) if len(filters) > 2 else None


def _product(inputs: Tensors, outputs: Tensors) -> int | None:
    """Of a matrix product, either factor possibly transposed: the first one tells how long the sums are."""
    first, result = inputs[0].shape, outputs[0]
    if len(first) < 2 or len(result.shape) < 2:
        return result.elements * first[-1]
    transposed = first[-2] != result.shape[-2] and first[-1] == result.shape[-2]
    return result.elements * first[-2 if transposed else -1]


def _matrix_product(inputs: Tensors, outputs: Tensors) -> int | None:
    """Of Gemm, whose factors are matrices."""
    return outputs[0].elements * (inputs[0].elements // outputs[0].shape[0])


def _recurrence(inputs: Tensors, _: Tensors) -> int | None:
    """Of X (steps, batch, features), W and R (directions, gates * hidden, ...): every step multiplies by both."""
    steps, batch = inputs[0].shape[:2]
    return steps * batch * (inputs[1].elements + inputs[2].elements)


def _binary(inputs: Tensors, outputs: Tensors) -> int | None:
    """Of bits W uint8 (M, ceil(K / 8)), channels second: X is float32. Bits that fill up a row's last byte count."""
    rows, row_bytes = inputs[1].shape
    return outputs[0].elements // rows * rows * row_bytes * 8


def _packed_binary(inputs: Tensors, outputs: Tensors) -> int | None:
    """The same for outputs with channels last, as numbers or as packed bits; outputs that nobody reads are empty."""
    rows, row_bytes = inputs[1].shape
    result = next(output for output in (*outputs, *outputs[:1]) if output.elements)
    return math.prod(result.shape[:3]) * rows * row_bytes * 8


_COUNTS: dict[str, Callable[[Tensors, Tensors], int | None]] = {
    **dict.fromkeys(("Conv", "FusedConv", "ConvInteger", "NhwcFusedConv"), _convolution(1)),
    **dict.fromkeys(("QLinearConv",), _convolution(3)),
    "ConvTranspose": _transposed_convolution,
    **dict.fromkeys(
        (
            "MatMul",
            "FusedMatMul",
            "MatMulInteger",
            "MatMulIntegerToFloat",
            "MatMulNBits",
            "DynamicQuantizeMatMul",
            "QLinearMatMul",
        ),
        _product,
    ),
    **dict.fromkeys(("Gemm", "FusedGemm", "QGemm"), _matrix_product),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), _recurrence),
    **dict.fromkeys(("BinaryConv", "BinaryDense"), _binary),
    **dict.fromkeys(("PackedBinaryConv", "PackedBinaryConvSum"), _packed_binary),
}
