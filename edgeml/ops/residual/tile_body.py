"""Tiles in standard ONNX operators: one value of each tile, at each of its pixels."""

from __future__ import annotations

from typing import Literal

import numpy as np

from edgeml.ops.body import Body


def per_tile(body: Body, operator: Literal["ReduceMax", "ReduceSum"], values: str) -> str:
    """The greatest value or the sum of each tile, at each of its pixels, (N, H, W) for (N, H, W).

    Args:
        body: of a function with the attribute tile.
        operator: which.
        values: none below 0, so that zeros beyond the image change nothing.
    """
    tile = body.add("Unsqueeze", body.integer("tile"), body.constant([0], np.int64))
    batch = body.add("Shape", values, end=1)
    size = body.add("Shape", values, start=1)
    beyond = body.add("Sub", tile, body.constant([1], np.int64))
    tiles = body.add("Div", body.add("Add", size, beyond), tile)
    whole = body.add("Mul", tiles, tile)
    padding = body.add("Concat", body.constant([0] * 4, np.int64), body.add("Sub", whole, size), axis=0)
    rows, columns = (
        body.add("Slice", tiles, body.constant([axis], np.int64), body.constant([axis + 1], np.int64))
        for axis in (0, 1)
    )
    apart = body.add("Concat", batch, rows, tile, columns, tile, axis=0)
    tiled = body.add("Reshape", body.add("Pad", values, padding), apart)
    found = body.add(operator, tiled, body.constant([2, 4], np.int64), keepdims=1)
    one = body.constant([1], np.int64)
    spread = body.add("Expand", found, body.add("Concat", one, one, tile, one, tile, axis=0))
    together = body.add("Reshape", spread, body.add("Concat", batch, whole, axis=0))
    cut = body.add("Slice", together, body.constant([0, 0], np.int64), size, body.constant([1, 2], np.int64))
    return body.add("Reshape", cut, body.add("Shape", values))  # what is cut by a computed number has no known size


def greatest_difference(body: Body, left: str, right: str) -> str:
    """The greatest difference of two tensors of codes over the channels of each pixel, int32 (N, H, W)."""
    apart = body.add("Abs", difference(body, left, right))
    return body.add("ReduceMax", apart, body.constant([-1], np.int64), keepdims=0)


def difference(body: Body, left: str, right: str) -> str:
    """One tensor of uint8 codes less another, int32."""
    from onnx import TensorProto

    return body.add("Sub", *(body.add("Cast", codes, to=TensorProto.INT32) for codes in (left, right)))


def exceeds(body: Body, greatest: str) -> str:
    """Where sixteen times a difference of codes, int32, is more than the function's attribute threshold, bool."""
    from onnx import TensorProto

    sixteenths = body.add("Mul", body.add("Cast", greatest, to=TensorProto.INT64), body.constant(16, np.int64))
    return body.add("Greater", sixteenths, body.integer("threshold"))
