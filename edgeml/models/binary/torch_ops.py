"""The operators BinaryConv and BinaryDense as torch sees them: one call each, which exports as one ONNX node.

The implementation unpacks the bits and multiplies floats; it is for exporting and for comparing results, not for speed.
Importing this module registers `torch.ops.edgeml.binary_conv` and `torch.ops.edgeml.binary_dense`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


@torch.library.custom_op("edgeml::binary_conv", mutates_args=())
def binary_conv(
    x: Tensor,
    weight: Tensor,
    threshold: Tensor,
    scale: Tensor,
    bias: Tensor,
    kernel_shape: Sequence[int],
    channels: int,
    strides: Sequence[int],
    pads: Sequence[int],
    dilations: Sequence[int],
    group: int,
) -> Tensor:
    """Returns scale * count + bias, float32 (batch, output, height, width); see `edgeml.ops` for the operator.

    Args:
        x: float32 (batch, channels, height, width); negative where it is below the threshold.
        weight: uint8 (output, ceil(K / 8)), K bits a filter in ONNX's order, least significant first; 1 is negative.
        threshold: float32 (channels,).
        scale: float32 (output,).
        bias: float32 (output,).
        kernel_shape: (height, width).
        channels: channels of `x`.
        strides: (height, width).
        pads: zeros at (top, left, bottom, right).
        dilations: (height, width).
        group: parts that channels and outputs are split into.
    """
    _check(x, 4, 1, channels)
    filters = unpack(weight, channels // group * kernel_shape[0] * kernel_shape[1]).reshape(
        len(weight), channels // group, *kernel_shape
    )
    top, left, bottom, right = pads
    signs = F.pad(_signs(x, threshold[:, None, None]), (left, right, top, bottom))
    count = F.conv2d(signs, filters, None, list(strides), 0, list(dilations), group)
    return count * scale[:, None, None] + bias[:, None, None]


@binary_conv.register_fake
def _(
    x: Tensor,
    weight: Tensor,
    _threshold: Tensor,
    _scale: Tensor,
    _bias: Tensor,
    kernel_shape: Sequence[int],
    channels: int,
    strides: Sequence[int],
    pads: Sequence[int],
    dilations: Sequence[int],
    _group: int,
) -> Tensor:
    _check(x, 4, 1, channels)
    sides = [
        (x.shape[2 + axis] + pads[axis] + pads[axis + 2] - dilations[axis] * (kernel_shape[axis] - 1) - 1)
        // strides[axis]
        + 1
        for axis in range(2)
    ]
    return x.new_empty((x.shape[0], weight.shape[0], *sides))


@torch.library.custom_op("edgeml::binary_dense", mutates_args=())
def binary_dense(x: Tensor, weight: Tensor, threshold: Tensor, scale: Tensor, bias: Tensor, features: int) -> Tensor:
    """Returns scale * count + bias, float32 (..., output).

    Args:
        x: float32 (..., features); negative where it is below the threshold.
        weight: uint8 (output, ceil(features / 8)), as for `binary_conv`.
        threshold: float32 (features,).
        scale: float32 (output,).
        bias: float32 (output,).
        features: length of the last axis of `x`.
    """
    _check(x, 1, -1, features)
    return F.linear(_signs(x, threshold), unpack(weight, features)) * scale + bias


@binary_dense.register_fake
def _(x: Tensor, weight: Tensor, _threshold: Tensor, _scale: Tensor, _bias: Tensor, features: int) -> Tensor:
    _check(x, 1, -1, features)
    return x.new_empty((*x.shape[:-1], weight.shape[0]))


def unpack(weight: Tensor, size: int) -> Tensor:
    """float32 +1 and -1 (output, size) from bits, uint8 (output, ceil(size / 8)), least significant first."""
    places = torch.arange(8, dtype=torch.uint8, device=weight.device)
    bits = (weight[:, :, None] >> places) & 1
    return 1 - 2 * bits.flatten(1)[:, :size].float()


def _signs(x: Tensor, threshold: Tensor) -> Tensor:
    # As a comparison, so that NaN is +1, as in the operator.
    return 1 - 2 * (x < threshold).float()


def _check(x: Tensor, rank: int, axis: int, size: int) -> None:
    if x.dtype != torch.float32:
        raise TypeError(f"the input is {x.dtype}; allowed: torch.float32")
    if x.ndim < rank:
        raise ValueError(f"the input has {x.ndim} axes; allowed: {rank} or more")
    if x.shape[axis] != size:
        raise ValueError(f"axis {axis} of the input is {x.shape[axis]}; allowed: {size}")
