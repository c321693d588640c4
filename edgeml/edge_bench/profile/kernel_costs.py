"""Counts the multiply-accumulates of edgeml's compiled kernels from the sizes of what they are called with.

Kernels are called with flat buffers, whose channels are filled up to whole vectors: what fills them up is computed and
counts, so the count is that of the arithmetic done, at or above the model's own.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgeml.edge_bench.profile.trace import Tensor

_FLOAT_KERNELS = frozenset({"convolution", "pointwise", "dense", "depthwise"})
_QUANTIZED_KERNELS = frozenset({f"quantized_{name}" for name in _FLOAT_KERNELS})


def kernel_macs(kernel: str, arguments: Sequence[Tensor]) -> int | None:
    """Multiply-accumulates of one call; None for other kernels than those of layers with weights.

    Args:
        kernel: the kernel's name, without the number that tells its uses apart.
        arguments: what it is called with, inputs before outputs.
    """
    sizes = [argument.elements for argument in arguments]
    try:
        if kernel == "squeeze_excite":  # two dense layers, to the reduced channels and back
            _, down, narrow, up, wide, *_ = sizes
            return 2 * (down // narrow) * (up // wide) * (sizes[0] // wide)
        if kernel in _FLOAT_KERNELS:
            _, weights, channels, *_ = sizes
        elif kernel in _QUANTIZED_KERNELS:
            _, weights, _, channels, *_ = sizes
        else:
            return None
        # A depthwise kernel may write the means of its output beside it.
        output = max(sizes[-2:]) if kernel.endswith("depthwise") else sizes[-1]
        return output // channels * weights
    except (ValueError, ZeroDivisionError, IndexError):  # a kernel of that name from elsewhere
        return None
