"""All operators of edgeml's own domain by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeml.ops import binary_conv, binary_dense, tree_binary_conv
from edgeml.ops.residual import (
    residual_add,
    residual_concat,
    residual_conv,
    residual_pool,
    residual_resize,
    residual_table,
    tile_gate,
)

if TYPE_CHECKING:
    import onnx

_BINARY = (binary_conv, binary_dense, tree_binary_conv)
_RESIDUAL = (
    tile_gate,
    residual_conv,
    residual_add,
    residual_concat,
    residual_table,
    residual_pool,
    residual_resize,
)


@dataclass(frozen=True)
class Operator:
    """One operator.

    Attributes:
        name: as in a node's op_type.
        schema: its inputs, outputs and attributes.
        function: its body in standard operators, for the file's opset (18 or later).
    """

    name: str
    schema: Callable[[], onnx.defs.OpSchema]
    function: Callable[[int], onnx.FunctionProto]


def operators() -> Mapping[str, Operator]:
    """The operators by name."""
    return {**binary_operators(), **residual_operators()}


def binary_operators() -> Mapping[str, Operator]:
    """Those that take signs of their input and have a threshold for them, by name."""
    return {module.NAME: Operator(module.NAME, module.schema, module.function) for module in _BINARY}


def residual_operators() -> Mapping[str, Operator]:
    """Those of residual video, which compute what changed since the frame before, by name."""
    return {module.NAME: Operator(module.NAME, module.schema, module.function) for module in _RESIDUAL}
