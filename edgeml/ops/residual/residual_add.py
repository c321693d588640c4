"""ResidualAdd: the sum of two tensors of 8-bit codes at those pixels where one of them changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgeml.ops.body import FIRST_OPSET
from edgeml.ops.domain import DOMAIN
from edgeml.ops.residual import code_body, map_body
from edgeml.ops.residual.codes import Codes, saturate
from edgeml.ops.residual.pixel_maps import require_map, update
from edgeml.ops.residual.signature import CODES, Signature

if TYPE_CHECKING:
    import onnx

NAME = "ResidualAdd"
SIGNATURE = Signature(
    name=NAME,
    doc=(
        "Y = table[saturate(rint(float32(A - a_zero_point) * a_multiplier + float32(B - b_zero_point) * b_multiplier) "
        "+ y_zero_point)] at the pixels that changed in A or B, previous elsewhere. Both products and their sum are "
        "rounded to float32; rint is to nearest even."
    ),
    inputs={
        "A": (CODES, "codes (N, H, W, C)"),
        "changed_a": (CODES, "pixel map of A, not 0 where it changed (N, H, W)"),
        "B": (CODES, "codes (N, H, W, C)"),
        "changed_b": (CODES, "pixel map of B (N, H, W)"),
        "table": (CODES, "what each code becomes at last (256)"),
        "previous": (CODES, "Y of the frame before (N, H, W, C)"),
    },
    outputs={
        "Y": (CODES, "codes (N, H, W, C)"),
        "changed_out": (CODES, "1 where a channel of Y differs from previous, else 0 (N, H, W)"),
    },
    required={
        "a_multiplier": ("FLOAT", "scale of A over that of Y"),
        "b_multiplier": ("FLOAT", "scale of B over that of Y"),
        "a_zero_point": ("INT", "code of A that stands for 0"),
        "b_zero_point": ("INT", "code of B that stands for 0"),
        "y_zero_point": ("INT", "code that stands for 0 before the table"),
    },
)


def node(
    inputs: Sequence[str],
    outputs: Sequence[str],
    *,
    a_multiplier: float,
    b_multiplier: float,
    a_zero_point: int,
    b_zero_point: int,
    y_zero_point: int,
    name: str = "",
) -> onnx.NodeProto:
    """A ResidualAdd node; inputs and outputs are named in `SIGNATURE`."""
    from onnx import helper

    return helper.make_node(
        NAME, list(inputs), list(outputs), name=name, domain=DOMAIN, a_multiplier=float(a_multiplier),
        b_multiplier=float(b_multiplier), a_zero_point=a_zero_point, b_zero_point=b_zero_point,
        y_zero_point=y_zero_point,
    )  # fmt: skip


def schema() -> onnx.defs.OpSchema:
    """Inputs, outputs and attributes."""
    return SIGNATURE.schema()


def function(opset: int = FIRST_OPSET) -> onnx.FunctionProto:
    """The operator in standard operators, which compute every pixel."""
    body = SIGNATURE.body()
    left, right = (
        body.add("Mul", code_body.centred(body, codes, zero_point), code_body.real(body, multiplier))
        for codes, zero_point, multiplier in (
            ("A", "a_zero_point", "a_multiplier"),
            ("B", "b_zero_point", "b_multiplier"),
        )
    )
    codes = code_body.saturated(body, body.add("Add", left, right), "y_zero_point")
    active = map_body.changed_in_either(body, "changed_a", "changed_b")
    map_body.update(body, code_body.looked_up(body, "table", codes), active, changed="changed_out")
    return SIGNATURE.function(body, opset)


def reference(
    a: Codes,
    changed_a: Codes,
    b: Codes,
    changed_b: Codes,
    table: Codes,
    previous: Codes,
    *,
    a_multiplier: float,
    b_multiplier: float,
    a_zero_point: int,
    b_zero_point: int,
    y_zero_point: int,
) -> tuple[Codes, Codes]:
    """Y, uint8 (N, H, W, C), and changed_out, uint8 (N, H, W), by numpy.

    Args:
        a: codes, uint8 (N, H, W, C).
        changed_a: their pixel map, uint8 (N, H, W).
        b: codes of the same shape.
        changed_b: their pixel map.
        table: what each code of the sum becomes at last, uint8 (256).
        previous: the output for the frame before, uint8 (N, H, W, C).
        a_multiplier: scale of `a` over that of the output; taken as float32.
        b_multiplier: scale of `b` over that of the output; taken as float32.
        a_zero_point: the code that stands for 0 in `a`.
        b_zero_point: the code that stands for 0 in `b`.
        y_zero_point: the code that stands for 0 before the table.

    Raises:
        ValueError: the shapes do not fit together.
    """
    if a.shape != b.shape:
        raise ValueError(f"codes of {a.shape} and of {b.shape} to add")
    require_map(a, changed_a)
    require_map(b, changed_b)
    left = (a.astype(np.int32) - a_zero_point).astype(np.float32) * np.float32(a_multiplier)
    right = (b.astype(np.int32) - b_zero_point).astype(np.float32) * np.float32(b_multiplier)
    return update(table[saturate(left + right, y_zero_point)], previous, (changed_a != 0) | (changed_b != 0))
