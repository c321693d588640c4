"""The pass: plans which nodes become which kernel, then writes the function anew with calls of them."""

from __future__ import annotations

from typing import Any

import tvm
from tvm import relax

from edgeml.compiler import binary_operator
from edgeml.compiler.isa import VectorISA
from edgeml.compiler.lowering.binary_rule import binary_convolution
from edgeml.compiler.lowering.concatenation_rule import concatenation
from edgeml.compiler.lowering.convolution_rule import convolution
from edgeml.compiler.lowering.dense_rule import dense
from edgeml.compiler.lowering.elementwise_rule import elementwise
from edgeml.compiler.lowering.graph import Expr, Graph, Node
from edgeml.compiler.lowering.group import Group, Plan, Rule
from edgeml.compiler.lowering.pooling_rule import global_average, pooling
from edgeml.compiler.lowering.quantization import dequantize_of
from edgeml.compiler.lowering.reshape_rule import reshape
from edgeml.compiler.lowering.softmax_rule import softmax
from edgeml.compiler.lowering.squeeze_excite_rule import squeeze_excite
from edgeml.compiler.lowering.values import Values, image_shape

# For each operator the rules that may take it, in the order they are asked. `elementwise` knows the rest.
_RULES: dict[str, tuple[Rule, ...]] = {
    binary_operator.NAME: (binary_convolution,),
    "nn.conv2d": (squeeze_excite, convolution),
    "matmul": (squeeze_excite, dense),
    "mean": (global_average,),
    "nn.adaptive_avg_pool2d": (global_average,),
    "nn.max_pool2d": (pooling,),
    "nn.avg_pool2d": (pooling,),
    "nn.softmax": (softmax,),
    "concat": (concatenation,),
    "reshape": (reshape,),
    "squeeze": (reshape,),
}


def lower_to_kernels(module: tvm.IRModule, isa: VectorISA) -> tuple[tvm.IRModule, dict[Expr, Group]]:
    """The module with every operator that has a kernel replaced by a call of it.

    Args:
        module: an imported model; its function "main" has straight-line bindings.
        isa: the vector unit to write kernels for.

    Returns:
        The new module, and for each replaced variable the group that computes it now.
    """
    function = module["main"]
    graph = Graph.of(function)
    groups = plan_groups(graph, isa)
    builder = relax.BlockBuilder()
    with builder.function("main", list(function.params), attrs=dict(function.attrs) if function.attrs else None):
        with builder.dataflow():
            values = Values(builder, graph, isa)
            for parameter in function.params:
                values.set_model(parameter, parameter)
            _emit(values, graph, groups)
            result = builder.emit_output(_substitute(function.body.body, values))
        builder.emit_func_output(result)
    lowered = builder.get()
    for name, other in module.functions.items():
        if name.name_hint != "main":
            lowered[name] = other
    return lowered, {node.var: group for group in groups for node in group.nodes}


def plan_groups(graph: Graph, isa: VectorISA) -> list[Group]:
    """The groups that replace nodes of the graph; no node is in two."""
    groups: list[Group] = []
    taken: set[Node] = set()
    for node in graph.nodes:
        if node in taken or node.operator == "" or graph.constant(node.var) is not None:
            continue
        plan = Plan(graph, isa, frozenset(taken))
        for rule in _RULES.get(node.operator, (elementwise,)):
            group = rule(plan, node)
            if group is not None:
                groups.append(group)
                taken.update(group.nodes)
                break
    return groups


def _emit(values: Values, graph: Graph, groups: list[Group]) -> None:
    by_last = {group.last: group for group in groups}
    replaced = {node for group in groups for node in group.nodes}
    for node in graph.nodes:
        if node in by_last:
            by_last[node].emit(values)
        elif node not in replaced and not _is_lazy(node, graph):
            values.set_model(node.var, values.builder.emit(_substitute(node.expr, values)))


def _is_lazy(node: Node, graph: Graph) -> bool:
    """Whether a node is a dequantization, which is done where its result is read, in the reader's kernel if it can."""
    return dequantize_of(graph, node.var) is not None and image_shape(node.var) is not None


def _substitute(expr: Expr, values: Values) -> Any:
    """The expression over the new function's variables, in the model's layout."""
    if (fields := values.graph.fields(expr)) is not None:
        return relax.Tuple([_substitute(each, values) for each in fields])
    if isinstance(expr, relax.Var):
        return values.model(values.graph.resolve(expr))
    if isinstance(expr, relax.Tuple):
        return relax.Tuple([_substitute(each, values) for each in expr.fields])
    if isinstance(expr, relax.TupleGetItem):
        return relax.TupleGetItem(_substitute(expr.tuple_value, values), expr.index)
    if hasattr(expr, "op") and hasattr(expr, "args"):
        return relax.Call(expr.op, [_substitute(each, values) for each in expr.args], expr.attrs, expr.ty_args)
    return expr
