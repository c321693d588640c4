"""ResidualConcat: the channels of two tensors of 8-bit codes, in one scale, where one of them changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgeml.ops.body import FIRST_OPSET
from edgeml.ops.domain import DOMAIN
from edgeml.ops.residual import code_body, map_body
from edgeml.ops.residual.codes import Codes
from edgeml.ops.residual.pixel_maps import require_map, update
from edgeml.ops.residual.signature import CODES, Signature

if TYPE_CHECKING:
    import onnx

NAME = "ResidualConcat"
SIGNATURE = Signature(
    name=NAME,
    doc=(
        "Y = table_a[A] and table_b[B] side by side along the channels, at the pixels that changed in A or B; previous "
        "elsewhere."
    ),
    inputs={
        "A": (CODES, "codes of the first channels (N, H, W, C of A)"),
        "changed_a": (CODES, "pixel map of A, not 0 where it changed (N, H, W)"),
        "B": (CODES, "codes of the last channels (N, H, W, C of B)"),
        "changed_b": (CODES, "pixel map of B (N, H, W)"),
        "table_a": (CODES, "Y's code for each of A's (256)"),
        "table_b": (CODES, "Y's code for each of B's (256)"),
        "previous": (CODES, "Y of the frame before (N, H, W, C of A + C of B)"),
    },
    outputs={
        "Y": (CODES, "codes (N, H, W, C of A + C of B)"),
        "changed_out": (CODES, "1 where a channel of Y differs from previous, else 0 (N, H, W)"),
    },
)


def node(inputs: Sequence[str], outputs: Sequence[str], *, name: str = "") -> onnx.NodeProto:
    """A ResidualConcat node; inputs and outputs are named in `SIGNATURE`."""
    from onnx import helper

    return helper.make_node(NAME, list(inputs), list(outputs), name=name, domain=DOMAIN)


def schema() -> onnx.defs.OpSchema:
    """Inputs, outputs and attributes."""
    return SIGNATURE.schema()


def function(opset: int = FIRST_OPSET) -> onnx.FunctionProto:
    """The operator in standard operators, which compute every pixel."""
    body = SIGNATURE.body()
    left, right = (code_body.looked_up(body, f"table_{part}", part.upper()) for part in ("a", "b"))
    active = map_body.changed_in_either(body, "changed_a", "changed_b")
    map_body.update(body, body.add("Concat", left, right, axis=3), active, changed="changed_out")
    return SIGNATURE.function(body, opset)


def reference(
    a: Codes, changed_a: Codes, b: Codes, changed_b: Codes, table_a: Codes, table_b: Codes, previous: Codes
) -> tuple[Codes, Codes]:
    """Y, uint8 (N, H, W, C of a + C of b), and changed_out, uint8 (N, H, W), by numpy.

    Args:
        a: codes of the first channels, uint8 (N, H, W, C of a).
        changed_a: their pixel map, uint8 (N, H, W).
        b: codes of the last channels, uint8 (N, H, W, C of b).
        changed_b: their pixel map.
        table_a: the output's code for each of a's, uint8 (256).
        table_b: the output's code for each of b's, uint8 (256).
        previous: the output for the frame before.

    Raises:
        ValueError: the shapes do not fit together.
    """
    if a.shape[:3] != b.shape[:3]:
        raise ValueError(f"codes of {a.shape} and of {b.shape} to join along their channels")
    require_map(a, changed_a)
    require_map(b, changed_b)
    fresh = np.concatenate([table_a[a], table_b[b]], axis=-1)
    return update(fresh, previous, (changed_a != 0) | (changed_b != 0))
