"""Tells for each convolution and dense layer of the ONNX file which code computes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeml.compiler.lowering.graph import Graph
from edgeml.compiler.lowering.group import Group
from edgeml.compiler.placed_operator import GENERAL, PlacedOperator

if TYPE_CHECKING:
    import onnx
    import tvm

# What the importer makes of ONNX's operators, in families whose order it keeps.
_FAMILIES = (
    (frozenset({"Conv"}), frozenset({"nn.conv1d", "nn.conv2d", "nn.conv3d"})),
    (frozenset({"Gemm", "MatMul"}), frozenset({"matmul"})),
)


def placed_operators(
    model: onnx.ModelProto, module: tvm.IRModule, groups: dict[str, Group]
) -> tuple[PlacedOperator, ...]:
    """What became of the operators that do the model's multiplications, in the order of the file.

    The importer keeps no names, but it keeps the order: the n-th Conv is the n-th convolution. Where it does not keep
    their number either, as for functions of the model, operators have relax's names.

    Args:
        model: the ONNX model.
        module: what the importer made of it.
        groups: by name of a variable, the kernel that computes it.
    """
    nodes = Graph.of(module["main"]).nodes
    coded = {name for node in model.graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    labels: dict[str, tuple[str, str, bool]] = {}
    for in_file, in_module in _FAMILIES:
        named = [
            (node.name or f"{node.op_type}_{index}", node.op_type, set(node.input[:2]) <= coded)
            for index, node in enumerate(model.graph.node)
            if node.op_type in in_file
        ]
        same = [node for node in nodes if node.operator in in_module]
        unnamed = [(node.var.name, node.operator, False) for node in same]
        labels |= {
            node.var.name: label
            for node, label in zip(same, named if len(named) == len(same) else unnamed, strict=True)
        }
    return tuple(
        _placed(*labels[node.var.name], groups.get(node.var.name)) for node in nodes if node.var.name in labels
    )


def _placed(name: str, operator: str, quantized: bool, group: Group | None) -> PlacedOperator:
    if group is None:
        return PlacedOperator(name, operator, GENERAL, "fp32", quantized)
    return PlacedOperator(name, operator, group.kernel, group.precision, quantized)
