"""ResidualConv: a convolution of 8-bit codes that is computed only in tiles whose input changed.

The body runs a ConvInteger on filters shifted to uint8, since onnxruntime's kernels for products of uint8 and int8
saturate sums of two on processors without dot products of bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from edgeml.ops.body import FIRST_OPSET, Body
from edgeml.ops.domain import DOMAIN
from edgeml.ops.residual import code_body, map_body, tile_body
from edgeml.ops.residual.codes import Codes, saturate
from edgeml.ops.residual.pixel_maps import require_map, update
from edgeml.ops.residual.signature import CODES, Signature
from edgeml.ops.residual.tiles import tile_maxima
from edgeml.ops.residual.windows import Windows

if TYPE_CHECKING:
    import onnx

NAME = "ResidualConv"
SIGNATURE = Signature(
    name=NAME,
    doc=(
        "Y = table[saturate(rint(float32(bias + Conv(X - x_zero_point, W)) * multiplier) + y_zero_point)] in the "
        "active tiles, previous elsewhere; padding adds 0, rint is to nearest even. Tiles of tile x tile output pixels "
        "start at the top left and are cut off at the right and bottom. A tile is active where a tap of one of its "
        "pixels changed and, with a threshold, 16 * max |new - previous| > threshold."
    ),
    inputs={
        "X": (CODES, "codes (N, H, W, C)"),
        "changed": (CODES, "pixel map of X, not 0 where it changed (N, H, W)"),
        "W": ("tensor(int8)", "filters (M, C / group, kernel height, kernel width)"),
        "multiplier": ("tensor(float)", "scale of a sum over that of Y (M)"),
        "bias": ("tensor(int32)", "added to the sums (M)"),
        "table": (CODES, "what each code becomes at last (256)"),
        "previous": (CODES, "Y of the frame before (N, OH, OW, M)"),
    },
    outputs={
        "Y": (CODES, "codes (N, OH, OW, M)"),
        "changed_out": (CODES, "1 where a channel of Y differs from previous, else 0 (N, OH, OW)"),
    },
    required={
        "kernel_shape": ("INTS", "height and width of the filters"),
        "x_zero_point": ("INT", "code of X that stands for 0"),
        "y_zero_point": ("INT", "code that stands for 0 before the table"),
    },
    defaults={
        "group": (1, "as in Conv"),
        "strides": ((1, 1), "as in Conv"),
        "pads": ((0, 0, 0, 0), "top, left, bottom, right"),
        "dilations": ((1, 1), "as in Conv"),
        "tile": (8, "height and width of a tile in output pixels"),
        "threshold": (0, "in sixteenths of a code, 0 or more"),
    },
)


def node(
    inputs: Sequence[str],
    outputs: Sequence[str],
    *,
    kernel_shape: Sequence[int],
    x_zero_point: int,
    y_zero_point: int,
    group: int = 1,
    strides: Sequence[int] = (1, 1),
    pads: Sequence[int] = (0, 0, 0, 0),
    dilations: Sequence[int] = (1, 1),
    tile: int = 8,
    threshold: int = 0,
    name: str = "",
) -> onnx.NodeProto:
    """A ResidualConv node that states every attribute; inputs and outputs are named in `SIGNATURE`."""
    from onnx import helper

    return helper.make_node(
        NAME, list(inputs), list(outputs), name=name, domain=DOMAIN, kernel_shape=list(kernel_shape), group=group,
        strides=list(strides), pads=list(pads), dilations=list(dilations), x_zero_point=x_zero_point,
        y_zero_point=y_zero_point, tile=tile, threshold=threshold,
    )  # fmt: skip


def schema() -> onnx.defs.OpSchema:
    """Inputs, outputs and attributes."""
    return SIGNATURE.schema()


def function(opset: int = FIRST_OPSET) -> onnx.FunctionProto:
    """The operator in standard operators, which compute every tile."""
    body = SIGNATURE.body()
    fresh = _recomputed(body)
    touched = map_body.changed_windows(body, "changed", dilations=True)
    touched_tiles = tile_body.per_tile(body, "ReduceMax", code_body.as_code(body, touched))
    greatest = tile_body.per_tile(body, "ReduceMax", tile_body.greatest_difference(body, fresh, "previous"))
    # At threshold 0 a tile that fails the second test holds its previous codes anyway.
    active = body.add("And", map_body.changed_pixels(body, touched_tiles), tile_body.exceeds(body, greatest))
    map_body.update(body, fresh, active, changed="changed_out")
    return SIGNATURE.function(body, opset)


def _recomputed(body: Body) -> str:
    """All output codes, uint8 (N, OH, OW, M)."""
    from onnx import AttributeProto, TensorProto

    image = body.add("Transpose", "X", perm=[0, 3, 1, 2])
    shift = body.constant(128, np.int32)
    filters = code_body.as_code(body, body.add("Add", body.add("Cast", "W", to=TensorProto.INT32), shift))
    attributes = map_body.window_attributes("kernel_shape", "strides", "pads", "dilations")
    attributes["group"] = ("group", AttributeProto.INT)
    products = body.refer(
        "ConvInteger", image, filters, code_body.as_code(body, body.integer("x_zero_point")),
        code_body.as_code(body, shift), attributes=attributes,
    )  # fmt: skip
    per_channel = body.constant([1, 2], np.int64)
    sums = body.add("Add", products, body.add("Unsqueeze", "bias", per_channel))
    scaled = body.add(
        "Mul", body.add("Cast", sums, to=TensorProto.FLOAT), body.add("Unsqueeze", "multiplier", per_channel)
    )
    codes = code_body.as_code(body, code_body.saturated(body, scaled, "y_zero_point"))
    return code_body.looked_up(body, "table", body.add("Transpose", codes, perm=[0, 2, 3, 1]))


def reference(
    x: Codes,
    changed: Codes,
    w: npt.NDArray[np.int8],
    multiplier: npt.NDArray[np.float32],
    bias: npt.NDArray[np.int32],
    table: Codes,
    previous: Codes,
    *,
    kernel_shape: Sequence[int],
    x_zero_point: int,
    y_zero_point: int,
    group: int = 1,
    strides: Sequence[int] = (1, 1),
    pads: Sequence[int] = (0, 0, 0, 0),
    dilations: Sequence[int] = (1, 1),
    tile: int = 8,
    threshold: int = 0,
) -> tuple[Codes, Codes]:
    """Y, uint8 (N, OH, OW, M), and changed_out, uint8 (N, OH, OW), by numpy.

    Args:
        x: codes, uint8 (N, H, W, C).
        changed: their pixel map, uint8 (N, H, W).
        w: filters, int8 (M, C / group, kernel height, kernel width).
        multiplier: scale of a sum over that of the output, float32 (M).
        bias: added to the sums, int32 (M).
        table: what each code becomes at last, uint8 (256).
        previous: the output for the frame before, uint8 (N, OH, OW, M).
        kernel_shape: height and width of the filters.
        x_zero_point: the code that stands for 0 in `x`, and in the padding.
        y_zero_point: the code that stands for 0 before the table.
        group: as in ONNX's Conv.
        strides: of rows and columns.
        pads: top, left, bottom, right.
        dilations: of rows and columns.
        tile: height and width of a tile of output pixels.
        threshold: in sixteenths of a code; a tile is renewed that differs by more.

    Raises:
        ValueError: the shapes do not fit together, or a sum leaves int32.
    """
    require_map(x, changed)
    windows = Windows(kernel_shape, strides, pads, dilations)
    sums = _sums(x, w, bias, x_zero_point, group, windows)
    with np.errstate(over="ignore"):  # what is infinite is clipped as well
        scaled = sums.astype(np.float32) * multiplier
    fresh = table[saturate(scaled, y_zero_point)]
    if fresh.shape != previous.shape:
        raise ValueError(f"a previous output of {previous.shape}, where the new one has {fresh.shape}")
    active = tile_maxima(windows.changed(changed).astype(np.int64), tile) != 0
    if threshold > 0:
        difference = np.abs(fresh.astype(np.int64) - previous).max(axis=-1)
        active &= 16 * tile_maxima(difference, tile) > threshold
    return update(fresh, previous, active)


def _sums(
    x: Codes,
    w: npt.NDArray[np.int8],
    bias: npt.NDArray[np.int32],
    x_zero_point: int,
    group: int,
    windows: Windows,
) -> npt.NDArray[np.int32]:
    """The sums before their scale, int32 (N, OH, OW, M)."""
    channels, (filters, inside, *kernel) = x.shape[3], w.shape
    if tuple(kernel) != tuple(windows.kernel_shape) or inside * group != channels or filters % group:
        raise ValueError(
            f"filters of {w.shape} on {channels} channels, where kernel_shape={tuple(windows.kernel_shape)} "
            f"and group={group}"
        )
    seen = windows.taps(x.astype(np.int64) - x_zero_point)
    grouped = seen.reshape(*seen.shape[:4], group, inside).astype(np.float64)  # float64 holds such integers exactly
    weights = w.reshape(group, filters // group, inside, -1).astype(np.float64)
    found = np.einsum("tnhwgi,gmit->nhwgm", grouped, weights, optimize=True).astype(np.int64)
    sums = found.reshape(*found.shape[:3], filters) + bias
    limits = np.iinfo(np.int32)
    if sums.size and (sums.min() < limits.min or sums.max() > limits.max):
        raise ValueError(f"sums from {sums.min()} to {sums.max()}, which int32 does not hold")
    result: npt.NDArray[np.int32] = sums.astype(np.int32)
    return result
