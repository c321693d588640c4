"""Rebuilds a layer's binary filters from their tree in standard ONNX operators, as `tree_coding.decode` in numpy.

Nothing here depends on the layer's input, so a runtime that folds constants does it once, while it loads the file.
"""

from __future__ import annotations

import numpy as np

from edgeml.ops.body import Body
from edgeml.ops.tree_coding import MAX_DEPTH, MAX_FILTERS

# Each round doubles the stretch of the way to the root that a filter has summed up.
_ROUNDS = (MAX_DEPTH + 1).bit_length() - 1
_INDEX_BITS = (MAX_FILTERS - 1).bit_length()
# onnx.TensorProto's numbers of the types.
_UINT8, _INT64, _BOOL = 2, 7, 9


def add_filters(body: Body, *, root: str, parents: str, quotients: str, remainders: str, scale: str) -> str:
    """The filters, uint8 (filters, bytes of a filter), as a value of `body`.

    Args:
        body: of a function with integer attributes `root_index` and `rice_parameter`.
        root: as in `CodedTree`, like the next three.
        parents: packed.
        quotients: packed.
        remainders: packed.
        scale: float32 (filters); only its length matters.
    """
    one = body.constant([1], np.int64)
    filters = body.add("Shape", scale)
    others = body.add("Sub", filters, one)
    order = _row_of_filter(body, filters, others)
    rows = body.add("Concat", _differences(body, root, quotients, remainders, others), _row(body, root), axis=0)
    nothing = _row(body, body.add("BitwiseXor", root, root))  # what the root adds for the parent that it lacks
    value = body.add("Gather", body.add("Concat", rows, nothing, axis=0), order)
    of_others = _fields(body, parents, _parent_bits(body, others), others)
    parent = body.add("Gather", body.add("Concat", of_others, filters, filters, axis=0), order)
    for _ in range(_ROUNDS):
        value = body.add("BitwiseXor", value, body.add("Gather", value, parent))
        parent = body.add("Gather", parent, parent)
    start = body.constant([0], np.int64)
    kept = body.add("Slice", value, start, filters, start)
    # Changes nothing but what shape inference knows, which cannot see through a Slice to a computed end.
    never = body.add("Cast", body.add("Less", scale, scale), to=_UINT8)
    return body.add("BitwiseXor", kept, body.add("BitwiseXor", body.add("Unsqueeze", never, one), nothing))


def _row(body: Body, values: str) -> str:
    return body.add("Unsqueeze", values, body.constant([0], np.int64))


def _range(body: Body, size: str) -> str:
    """0, 1, ... below `size`, int64 (1)."""
    none = body.constant([], np.int64)
    return body.add("Range", body.constant(0, np.int64), body.add("Reshape", size, none), body.constant(1, np.int64))


def _row_of_filter(body: Body, filters: str, others: str) -> str:
    """Where in (differences in order, root, nothing) each filter's row is, and last the row of nothing itself."""
    root, index = body.integer("root_index"), _range(body, filters)
    after = body.add("Cast", body.add("Less", root, index), to=_INT64)
    row = body.add("Where", body.add("Equal", index, root), others, body.add("Sub", index, after))
    return body.add("Concat", row, filters, axis=0)


def _bits(body: Body, packed: str) -> str:
    """All bits of a packed string, bool (bits); by masks, as in `Body.unpacked`."""
    column = body.add("Unsqueeze", packed, body.constant([1], np.int64))
    bits = body.add("BitwiseAnd", column, body.constant([1 << bit for bit in range(8)], np.uint8))
    return body.add("Cast", body.add("Reshape", bits, body.constant([-1], np.int64)), to=_BOOL)


def _fields(body: Body, packed: str, width: str, count: str) -> str:
    """`count` numbers of `width` bits each, both int64 (1), as int64 (count)."""
    start = body.constant([0], np.int64)
    used = body.add("Slice", _bits(body, packed), start, body.add("Mul", count, width), start)
    table = body.add("Reshape", used, body.add("Concat", count, width, axis=0))
    weights = body.add("Pow", body.constant(2, np.int64), _range(body, width))
    weighted = body.add("Mul", body.add("Cast", table, to=_INT64), weights)
    return body.add("ReduceSum", weighted, body.constant([1], np.int64), keepdims=0)


def _parent_bits(body: Body, others: str) -> str:
    """`tree_coding.parent_bits`, int64 (1): how many powers of 2 are no more than the number of other filters."""
    fit = body.add("LessOrEqual", body.constant([1 << bit for bit in range(_INDEX_BITS)], np.int64), others)
    counted = body.add("Cast", fit, to=_INT64)
    return body.add("ReduceSum", counted, body.constant([0], np.int64), keepdims=1)


def _ones(body: Body, bits: str) -> str:
    """Where `bits`, bool, are set, int64 (set bits). NonZero would say so too, but onnxruntime does not fold it."""
    start, numbers = body.constant([0], np.int64), body.add("Cast", bits, to=_INT64)
    count = body.add("ReduceSum", numbers, start, keepdims=1)
    rank = body.add("Sub", body.add("CumSum", numbers, body.constant(0, np.int64)), body.constant([1], np.int64))
    # Every place goes to the slot of its rank; zeros share one slot behind the last, which is cut off.
    slot = body.add("Where", bits, rank, count)
    empty = body.add("Expand", start, body.add("Add", count, body.constant([1], np.int64)))
    places = _range(body, body.add("Shape", bits))
    filled = body.add("ScatterElements", empty, slot, places, axis=0, reduction="add")
    return body.add("Slice", filled, start, count, start)


def _differences(body: Body, root: str, quotients: str, remainders: str, others: str) -> str:
    """Where each filter but the root differs from its parent, uint8 (filters - 1, bytes of a filter)."""
    one, flat = body.constant([1], np.int64), body.constant([-1], np.int64)
    parameter = body.add("Reshape", body.integer("rice_parameter"), one)
    ends = _ones(body, _bits(body, quotients))
    before = body.add("Slice", body.add("Concat", flat, ends, axis=0), body.constant([0], np.int64), flat)
    quotient = body.add("Sub", body.add("Sub", ends, before), one)
    high = body.add("Mul", quotient, body.add("Pow", body.constant([2], np.int64), parameter))
    low = _fields(body, remainders, parameter, body.add("Shape", ends))
    steps = body.add("Add", body.add("Add", high, low), one)
    places = body.add("Sub", body.add("CumSum", steps, body.constant(0, np.int64)), one)
    eight = body.constant([8], np.int64)
    bit = body.add("Gather", body.constant([1 << bit for bit in range(8)], np.uint8), body.add("Mod", places, eight))
    shape = body.add("Concat", others, body.add("Shape", root), axis=0)
    size = body.add("Mul", others, body.add("Shape", root))
    # The last gap leads to the end, one byte behind the differences.
    empty = body.add("Expand", body.constant([0], np.uint8), body.add("Add", size, one))
    # Places are all different, so that adding their bits sets them.
    filled = body.add("ScatterElements", empty, body.add("Div", places, eight), bit, axis=0, reduction="add")
    kept = body.add("Slice", filled, body.constant([0], np.int64), size)
    return body.add("Reshape", kept, shape)
