"""ResidualTable: a function of one 8-bit code, as a table, at those pixels that changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgeml.ops.body import FIRST_OPSET
from edgeml.ops.domain import DOMAIN
from edgeml.ops.residual import code_body, map_body
from edgeml.ops.residual.codes import Codes
from edgeml.ops.residual.pixel_maps import require_map, update
from edgeml.ops.residual.signature import CODES, Signature

if TYPE_CHECKING:
    import onnx

NAME = "ResidualTable"
SIGNATURE = Signature(
    name=NAME,
    doc="Y = table[X] at the pixels that changed, previous elsewhere.",
    inputs={
        "X": (CODES, "codes (N, H, W, C)"),
        "changed": (CODES, "pixel map of X, not 0 where it changed (N, H, W)"),
        "table": (CODES, "what each code becomes (256)"),
        "previous": (CODES, "Y of the frame before (N, H, W, C)"),
    },
    outputs={
        "Y": (CODES, "codes (N, H, W, C)"),
        "changed_out": (CODES, "1 where a channel of Y differs from previous, else 0 (N, H, W)"),
    },
)


def node(inputs: Sequence[str], outputs: Sequence[str], *, name: str = "") -> onnx.NodeProto:
    """A ResidualTable node; inputs and outputs are named in `SIGNATURE`."""
    from onnx import helper

    return helper.make_node(NAME, list(inputs), list(outputs), name=name, domain=DOMAIN)


def schema() -> onnx.defs.OpSchema:
    """Inputs, outputs and attributes."""
    return SIGNATURE.schema()


def function(opset: int = FIRST_OPSET) -> onnx.FunctionProto:
    """The operator in standard operators, which compute every pixel."""
    body = SIGNATURE.body()
    active = map_body.changed_pixels(body, "changed")
    map_body.update(body, code_body.looked_up(body, "table", "X"), active, changed="changed_out")
    return SIGNATURE.function(body, opset)


def reference(x: Codes, changed: Codes, table: Codes, previous: Codes) -> tuple[Codes, Codes]:
    """Y, uint8 (N, H, W, C), and changed_out, uint8 (N, H, W), by numpy.

    Args:
        x: codes, uint8 (N, H, W, C).
        changed: their pixel map, uint8 (N, H, W).
        table: what each code becomes, uint8 (256).
        previous: the output for the frame before, uint8 (N, H, W, C).

    Raises:
        ValueError: the shapes do not fit together.
    """
    require_map(x, changed)
    return update(table[x], previous, changed != 0)
