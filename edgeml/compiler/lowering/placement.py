"""Tells for each convolution and dense layer of the ONNX file which code computes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeml.compiler.lowering.graph import Graph
from edgeml.compiler.lowering.group import Group
from edgeml.compiler.placed_operator import GENERAL, PlacedOperator

if TYPE_CHECKING:
    import onnx
    import tvm

_RELAX_NAMES = {"Conv": "nn.conv2d", "Gemm": "matmul", "MatMul": "matmul"}


def placed_operators(
    model: onnx.ModelProto, module: tvm.IRModule, groups: dict[str, Group]
) -> tuple[PlacedOperator, ...]:
    """What became of the operators that do the model's multiplications, in the order of the file.

    The importer keeps no names, but it keeps the order: the n-th Conv is the n-th conv2d.

    Args:
        model: the ONNX model.
        module: what the importer made of it.
        groups: by name of a variable, the kernel that computes it.
    """
    nodes = {
        name: [node.var.name for node in Graph.of(module["main"]).nodes if node.operator == name]
        for name in set(_RELAX_NAMES.values())
    }
    named: dict[str, list[tuple[str, str]]] = {name: [] for name in nodes}
    for index, node in enumerate(model.graph.node):
        if node.op_type in _RELAX_NAMES:
            named[_RELAX_NAMES[node.op_type]].append((node.name or f"{node.op_type}_{index}", node.op_type))
    placed = []
    for name, variables in nodes.items():
        same = len(variables) == len(named[name])
        for index, variable in enumerate(variables):
            label, operator = named[name][index] if same else (variable, name)
            group = groups.get(variable)
            placed.append(
                PlacedOperator(label, operator, group.kernel, group.precision)
                if group
                else PlacedOperator(label, operator, GENERAL, "fp32")
            )
    return tuple(placed)
