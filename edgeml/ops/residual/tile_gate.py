"""TileGate: lets those tiles of a frame through that differ enough from what was let through before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgeml.ops.body import FIRST_OPSET, Body
from edgeml.ops.domain import DOMAIN
from edgeml.ops.residual import map_body, tile_body
from edgeml.ops.residual.codes import Codes
from edgeml.ops.residual.pixel_maps import update
from edgeml.ops.residual.signature import CODES, Signature
from edgeml.ops.residual.tiles import tile_maxima, tile_sums

if TYPE_CHECKING:
    import onnx

NAME = "TileGate"
SIGNATURE = Signature(
    name=NAME,
    doc=(
        "Y = X in the active tiles, previous elsewhere. Tiles of tile x tile pixels start at the top left and are cut "
        "off at the right and bottom. With d = X - previous, a tile is active where 16 * max |d| > threshold; with rms "
        "where 256 * sum(d * d) > threshold * threshold * (its pixels * C)."
    ),
    inputs={
        "X": (CODES, "codes of the frame (N, H, W, C)"),
        "previous": (CODES, "codes let through before (N, H, W, C)"),
    },
    outputs={
        "Y": (CODES, "codes let through (N, H, W, C)"),
        "changed": (CODES, "1 where a channel of Y differs from previous, else 0 (N, H, W)"),
    },
    defaults={
        "tile": (8, "height and width of a tile in pixels"),
        "threshold": (0, "in sixteenths of a code, 0 or more"),
        "rms": (0, "1: root of the mean square of the differences; 0: the greatest"),
    },
)


def node(
    inputs: Sequence[str],
    outputs: Sequence[str],
    *,
    tile: int = 8,
    threshold: int = 0,
    rms: int = 0,
    name: str = "",
) -> onnx.NodeProto:
    """A TileGate node that states every attribute; inputs and outputs are named in `SIGNATURE`."""
    from onnx import helper

    return helper.make_node(
        NAME, list(inputs), list(outputs), name=name, domain=DOMAIN, tile=tile, threshold=threshold, rms=rms
    )


def schema() -> onnx.defs.OpSchema:
    """Inputs, outputs and attributes."""
    return SIGNATURE.schema()


def function(opset: int = FIRST_OPSET) -> onnx.FunctionProto:
    """The operator in standard operators; both kinds of activity are computed and one is taken."""
    from onnx import TensorProto

    body = SIGNATURE.body()
    greatest = tile_body.per_tile(body, "ReduceMax", tile_body.greatest_difference(body, "X", "previous"))
    chosen = body.add("Cast", body.integer("rms"), to=TensorProto.BOOL)
    by_mean = body.add("And", chosen, _mean_square_exceeds(body))  # onnxruntime has no Where for bool
    by_greatest = body.add("And", body.add("Not", chosen), tile_body.exceeds(body, greatest))
    active = body.add("Or", by_mean, by_greatest)
    map_body.update(body, "X", active, changed="changed")
    return SIGNATURE.function(body, opset)


def _mean_square_exceeds(body: Body) -> str:
    """Where the mean square of a tile's differences is more than that of the threshold, bool (N, H, W)."""
    from onnx import TensorProto, numpy_helper

    apart = body.add("Cast", tile_body.difference(body, "X", "previous"), to=TensorProto.INT64)
    channels = body.constant([-1], np.int64)
    squares = body.add("ReduceSum", body.add("Mul", apart, apart), channels, keepdims=0)
    one = numpy_helper.from_array(np.ones(1, np.int64))
    count = body.add("ConstantOfShape", body.add("Shape", squares), value=one)
    values = body.add("Mul", tile_body.per_tile(body, "ReduceSum", count), body.add("Shape", "X", start=3))
    threshold = body.integer("threshold")
    limit = body.add("Mul", body.add("Mul", threshold, threshold), values)
    total = body.add("Mul", tile_body.per_tile(body, "ReduceSum", squares), body.constant(256, np.int64))
    return body.add("Greater", total, limit)


def reference(x: Codes, previous: Codes, *, tile: int = 8, threshold: int = 0, rms: int = 0) -> tuple[Codes, Codes]:
    """Y, uint8 (N, H, W, C), and changed, uint8 (N, H, W), by numpy.

    Args:
        x: codes of the frame, uint8 (N, H, W, C).
        previous: codes that were let through before, of the same shape.
        tile: height and width of a tile in pixels.
        threshold: in sixteenths of a code; a tile passes that differs by more.
        rms: 1 compares the root of the mean square of the differences, 0 the greatest difference.

    Raises:
        ValueError: the shapes do not fit together.
    """
    if x.shape != previous.shape:
        raise ValueError(f"a previous frame of {previous.shape}, where the frame has {x.shape}")
    difference = x.astype(np.int64) - previous
    if rms:
        squares = tile_sums((difference * difference).sum(axis=-1), tile)
        count = tile_sums(np.ones(x.shape[:3], np.int64), tile) * x.shape[3]
        active = 256 * squares > threshold * threshold * count
    else:
        active = 16 * tile_maxima(np.abs(difference).max(axis=-1), tile) > threshold
    return update(x, previous, active)
