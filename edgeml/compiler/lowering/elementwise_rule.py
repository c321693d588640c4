"""Arithmetic that no kernel before it takes along: on packed values, with vectorized functions."""

from __future__ import annotations

from edgeml.compiler.kernels.elementwise import Elementwise
from edgeml.compiler.kernels.epilogue import Operand
from edgeml.compiler.lowering.chain import Chain, same_shape
from edgeml.compiler.lowering.gate import gated, is_left_to_convolution
from edgeml.compiler.lowering.graph import Expr, Node, dtype_of
from edgeml.compiler.lowering.group import Group, Plan
from edgeml.compiler.lowering.quantization import dequantize_of
from edgeml.compiler.lowering.values import Values, image_shape


def elementwise(plan: Plan, node: Node) -> Group | None:
    """The group that begins with an activation, a sum, a product or a quantization."""
    source = _source(plan, node)
    if source is None or is_left_to_convolution(plan, node):
        return None
    chain = Chain(plan.graph, source, plan.taken, linear=False)
    if not (_gate(plan, chain, node) or chain.take(node) or _gated_by_itself(chain, node)):
        return None
    chain.follow()
    image = image_shape(source)
    assert image is not None, "_source has looked"
    coded = dequantize_of(plan.graph, source)
    kernel = Elementwise(
        isa=plan.isa,
        batch=image.samples,
        pixels=image.pixels,
        channels=image.channels,
        epilogue=chain.epilogue,
        quantization=coded.quantization if coded else None,
    )

    def emit(values: Values) -> None:
        read = values.packed(coded.codes if coded else source)
        arguments = [read, *map(values.operand, chain.operands)]
        values.set_packed(chain.var, values.call(kernel.kernel(), arguments, image))

    nodes = tuple(chain.absorbed)
    return Group("elementwise", "fp32", nodes[-1], nodes, emit)


def _source(plan: Plan, node: Node) -> Expr | None:
    """The value the chain starts from: the first float32 image among the arguments that is no constant."""
    for argument in node.arguments:
        is_value = dtype_of(argument) == "float32" and plan.graph.constant(argument) is None
        keeps_shape = dtype_of(node.var) in {"uint8", "int8"} or same_shape(argument, node.var)
        if is_value and keeps_shape and image_shape(argument):
            return argument
    return None


def _gate(plan: Plan, chain: Chain, node: Node) -> bool:
    found = gated(plan, node)
    if found is None:
        return False
    chain.var = node.var
    chain.steps.append(Operand("multiply", extent="sample"))
    chain.operands.append(found.gate)
    chain.absorbed.append(node)
    return True


def _gated_by_itself(chain: Chain, node: Node) -> bool:
    """SiLU that no convolution takes along: the node is its sigmoid, and its product follows."""
    users = chain.graph.users(chain.var)
    return node in users and len(users) == 2 and chain.gated_by_itself(users)
