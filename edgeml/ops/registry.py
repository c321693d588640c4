"""All operators of edgeml's own domain by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeml.ops import binary_conv, binary_dense, tree_binary_conv

if TYPE_CHECKING:
    import onnx


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
    modules = (binary_conv, binary_dense, tree_binary_conv)
    return {module.NAME: Operator(module.NAME, module.schema, module.function) for module in modules}
