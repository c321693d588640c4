"""The sums of a ResidualConv in the form that the kernels for 8-bit codes are found for, and exact."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edgeml.ops.residual.windows import Windows

Expr = Any

# float32 holds every integer up to here.
_EXACT = 1 << 24
_CHANNELS_LAST = [0, 2, 3, 1]
_CHANNELS_FIRST = [0, 3, 1, 2]


def convolved(
    builder: Any,
    x: Expr,
    weights: npt.NDArray[np.int8],
    multiplier: npt.NDArray[np.float32],
    bias: npt.NDArray[np.int32],
    windows: Windows,
    *,
    group: int,
    zero_points: tuple[int, int],
) -> Expr:
    """Codes of (bias + Conv(x - zero point, weights)) * multiplier, uint8 (N, M, OH, OW).

    Args:
        builder: relax's BlockBuilder of the function in the making.
        x: codes, uint8 (N, H, W, C).
        weights: int8 (M, C / group, kernel height, kernel width).
        multiplier: float32 (M).
        bias: int32 (M).
        windows: of the convolution.
        group: as in ONNX's Conv.
        zero_points: of `x` and of the result.
    """
    from tvm import relax

    def per_channel(values: npt.NDArray[Any]) -> Expr:
        return relax.const(np.ascontiguousarray(values).reshape(1, -1, 1, 1))

    geometry: dict[str, Any] = {
        "strides": list(windows.strides),
        "padding": list(windows.pads),
        "dilation": list(windows.dilations),
        "groups": group,
    }
    image, limits = _channels_first(builder, x), _limits(weights, bias, zero_points[0])
    one = relax.const(1.0, "float32")
    if max(abs(limit) for limit in limits) <= _EXACT and np.abs(bias.astype(np.int64)).max(initial=0) <= _EXACT:
        real = builder.emit(relax.op.dequantize(image, one, relax.const(zero_points[0], "uint8"), axis=1))
        filters = builder.emit(relax.op.dequantize(relax.const(weights), one, relax.const(0, "int8"), axis=0))
        products = builder.emit(relax.op.nn.conv2d(real, filters, out_dtype="float32", **geometry))
        sums = builder.emit(relax.op.add(products, per_channel(bias.astype(np.float32))))
        # Changes no sum: it keeps the multiplier from going into weights and bias, where it would be rounded by itself.
        sums = builder.emit(relax.op.maximum(sums, relax.const(float(limits[0]), "float32")))
    else:
        whole = builder.emit(relax.op.astype(image, "int32"))
        centred = builder.emit(relax.op.subtract(whole, relax.const(zero_points[0], "int32")))
        filters = relax.const(weights.astype(np.int32))
        products = builder.emit(relax.op.nn.conv2d(centred, filters, out_dtype="int32", **geometry))
        total = builder.emit(relax.op.add(products, per_channel(bias)))
        sums = builder.emit(relax.op.astype(total, "float32"))
    scaled = builder.emit(relax.op.multiply(sums, per_channel(multiplier)))
    zero_point = relax.const(zero_points[1], "uint8")
    return builder.emit(relax.op.quantize(scaled, one, zero_point, axis=1, out_dtype="uint8"))


def _limits(weights: npt.NDArray[np.int8], bias: npt.NDArray[np.int32], zero_point: int) -> tuple[int, int]:
    """Numbers, one not above 0 and one not below, between which the sums are, however many taps were added so far."""
    filters = weights.reshape(len(weights), -1).astype(np.int64)
    ends = np.stack([filters * -zero_point, filters * (255 - zero_point)])
    least, most = (limit + np.array([0, 1])[:, None] * bias for limit in (ends.min(0).sum(1), ends.max(0).sum(1)))
    return int(least.min(initial=0)), int(most.max(initial=0))


def _channels_first(builder: Any, x: Expr) -> Expr:
    """An image (N, H, W, C) as (N, C, H, W): what it was made of, where that is known."""
    from tvm import relax

    made: Any = builder.lookup_binding(x) if isinstance(x, relax.Var) else None
    if getattr(getattr(made, "op", None), "name", "") == "relax.permute_dims":
        axes = made.attrs.axes
        if axes is not None and [int(axis) for axis in axes] == _CHANNELS_LAST:
            return made.args[0]
    return builder.emit(relax.op.permute_dims(x, _CHANNELS_FIRST))
