"""How large a model becomes once its function calls are expanded: short files can call for exponentially many nodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter

from edgeml.core.errors import UntrustedFileError
from edgeml.core.onnx_guard.limits import OnnxLimits
from edgeml.core.onnx_guard.tensors import shown

FunctionId = tuple[str, str, str]
"""(domain, name, overload), by which ONNX identifies a function; the domain "ai.onnx" is written ""."""


def check_expansion(
    graph: Counter[FunctionId], functions: Mapping[FunctionId, Counter[FunctionId]], limits: OnnxLimits
) -> None:
    """Hold the expanded model to the limits on nodes and depth.

    Args:
        graph: how often the model's graph has a node of each operator.
        functions: the same for the body of each model-local function.
        limits: the limits.

    Raises:
        UntrustedFileError: a function calls itself, or the expanded model breaks a limit.
    """
    calls = {name: [operator for operator in body if operator in functions] for name, body in functions.items()}
    try:
        order = list(TopologicalSorter(calls).static_order())
    except CycleError as error:
        raise UntrustedFileError(f"function {shown(error.args[1][0][1])} calls itself, which ONNX forbids") from error
    nodes: dict[FunctionId, int] = {}
    depth: dict[FunctionId, int] = {}
    for name in order:
        nodes[name] = sum(count * nodes.get(operator, 1) for operator, count in functions[name].items())
        depth[name] = 1 + max((depth[callee] for callee in calls[name]), default=0)
        if nodes[name] > limits.nodes:
            raise _too_large(f"function {shown(name[1])} expands", limits)
        if depth[name] > limits.depth:
            raise UntrustedFileError(f"functions call each other more than {limits.depth} deep at {shown(name[1])}")
    if sum(count * nodes.get(operator, 1) for operator, count in graph.items()) > limits.nodes:
        raise _too_large("the graph's function calls expand", limits)


def _too_large(what: str, limits: OnnxLimits) -> UntrustedFileError:
    return UntrustedFileError(f"{what} to more than the allowed {limits.nodes} nodes")
