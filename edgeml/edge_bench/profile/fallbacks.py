"""Says of operators that are not executed as the model asks: wide arithmetic in a narrow model, bodies, conversions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeml.core.artifact import Precision
from edgeml.edge_bench.profile.probe_models import import_onnx
from edgeml.edge_bench.profile.trace import TracedNode

BODY = "runs as its body in standard operators"
_FLOATS = frozenset({"float32", "float64"})
_CONVERSIONS = frozenset({"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"})
# They move values and compute nothing.
_LAYOUT = frozenset({"ReorderInput", "ReorderOutput", "Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze"})
_NUMBERED = re.compile(r"(\w+?)_\d+")


def precision_fallback(position: int, nodes: Sequence[TracedNode], precision: Precision) -> str | None:
    """Why the node at that position of the executed graph is not in the precision of the model; None where it is.

    The first operator of an int8 model may convert its input, the last one its output. A change of layout is charged to
    the operator that wants it, so it is none.
    """
    node = nodes[position]
    if node.operator in _LAYOUT:
        return None
    if precision == "int8":
        if node.operator in _CONVERSIONS:
            return None if position in {0, len(nodes) - 1} else "converts between float32 and 8 bits within the model"
        return "float32 in an int8 model" if node.dtype in _FLOATS else None
    if precision == "fp16":
        if node.operator == "Cast":
            return None if position in {0, len(nodes) - 1} else "converts between float16 and float32 within the model"
        return "float32 in a float16 model" if node.dtype in _FLOATS else None
    return None


@dataclass(frozen=True)
class Bodies:
    """The operators of ai.edgeml that a file holds with bodies, which onnxruntime puts in where it lacks their kernels.

    Attributes:
        names: names of the file's own nodes.
        operators: types of the nodes in the bodies, but for those of nodes without a name in the file itself.
    """

    names: frozenset[str]
    operators: frozenset[str]

    @classmethod
    def of(cls, path: Path) -> Bodies | None:
        """Those of an ONNX file; None where it has none.

        Raises:
            MissingError: onnx is not installed.
        """
        model = import_onnx().load(path, load_external_data=False)
        unnamed = {node.op_type for node in model.graph.node if not node.name}
        operators = {node.op_type for function in model.functions for node in function.node} - unnamed
        if not operators:
            return None
        fused = {f"Fused{operator}" for operator in operators}  # with the activation that follows in the file
        return cls(frozenset(node.name for node in model.graph.node), frozenset(operators | fused))

    def hold(self, node: TracedNode) -> bool:
        """Whether a node comes from a body: bodies name no nodes, so onnxruntime numbers them by type."""
        numbered = _NUMBERED.fullmatch(node.name)
        return numbered is not None and numbered[1] in self.operators and node.name not in self.names
