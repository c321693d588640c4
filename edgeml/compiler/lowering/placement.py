"""Tells for each convolution and dense layer of the ONNX file which code computes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeml.compiler import binary_operator
from edgeml.compiler.lowering.graph import Expr, Graph
from edgeml.compiler.lowering.group import Group
from edgeml.compiler.placed_operator import GENERAL, OperatorPrecision, PlacedOperator
from edgeml.ops import binary_conv, binary_dense, tree_binary_conv
from edgeml.ops.residual import residual_conv

if TYPE_CHECKING:
    import onnx
    import tvm

_BINARY = frozenset({binary_conv.NAME, binary_dense.NAME, tree_binary_conv.NAME})
# What the importer makes of ONNX's operators, in families whose order it keeps.
_FAMILIES = (
    (frozenset({"Conv", residual_conv.NAME}), frozenset({"nn.conv1d", "nn.conv2d", "nn.conv3d"})),
    (frozenset({"Gemm", "MatMul"}), frozenset({"matmul"})),
    (_BINARY, frozenset({binary_operator.NAME})),
)


def placed_operators(
    model: onnx.ModelProto, module: tvm.IRModule, groups: dict[Expr, Group]
) -> tuple[PlacedOperator, ...]:
    """What became of the operators that do the model's multiplications, in the order of the file.

    The importer keeps no names, but it keeps the order: the n-th Conv is the n-th convolution. Where it does not keep
    their number either, as for functions of the model, operators have relax's names.

    Args:
        model: the ONNX model.
        module: what the importer made of it.
        groups: by variable, the kernel that computes it.
    """
    nodes = Graph.of(module["main"]).nodes
    coded = {name for node in model.graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    labels: dict[Expr, tuple[str, str, bool]] = {}
    for in_file, in_module in _FAMILIES:
        named = [
            (node.name or f"{node.op_type}_{index}", node.op_type, set(node.input[:2]) <= coded)
            for index, node in enumerate(model.graph.node)
            if node.op_type in in_file
        ]
        same = [node for node in nodes if node.operator in in_module]
        unnamed = [(node.var.name, node.operator, False) for node in same]
        labels |= {
            node.var: label for node, label in zip(same, named if len(named) == len(same) else unnamed, strict=True)
        }
    return tuple(_placed(*labels[node.var], groups.get(node.var)) for node in nodes if node.var in labels)


def _placed(name: str, operator: str, quantized: bool, group: Group | None) -> PlacedOperator:
    if group is None:
        precision: OperatorPrecision = "binary" if operator in {*_BINARY, binary_operator.NAME} else "fp32"
        return PlacedOperator(name, operator, GENERAL, precision, quantized)
    return PlacedOperator(name, operator, group.kernel, group.precision, quantized)
