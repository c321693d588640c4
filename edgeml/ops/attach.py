"""Gives a model the bodies of the operators it calls, so that any runtime can run it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from edgeml.core.errors import EdgeMLError
from edgeml.ops.body import FIRST_OPSET
from edgeml.ops.constant_sizes import fold_sizes
from edgeml.ops.domain import DOMAIN, VERSION
from edgeml.ops.registry import operators

if TYPE_CHECKING:
    import onnx

# The first in which a function may state what an attribute is that a node leaves out.
_FIRST_IR = 9


def attach_functions(model: onnx.ModelProto) -> None:
    """Add the body of every edgeml operator that `model` calls, in place of those it holds, and the domain's version.

    Raises:
        EdgeMLError: an operator of edgeml's domain is none that this version knows, or the model's opset is too old.
    """
    from onnx import helper

    called = sorted(called_operators(model))
    detach_functions(model)
    imports = [entry for entry in model.opset_import if entry.domain != DOMAIN]
    del model.opset_import[:]
    model.opset_import.extend(imports)
    if not called:
        return
    known = operators()
    opset = max((entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"}), default=0)
    if opset < FIRST_OPSET:
        raise EdgeMLError(f"a graph of opset {opset} cannot hold edgeml's operators; they need {FIRST_OPSET} or later")
    for name in called:
        if name not in known:
            raise EdgeMLError(f"{DOMAIN} has no operator {name!r}; this version knows {', '.join(known)}")
        model.functions.append(known[name].function(opset))
    model.opset_import.append(helper.make_opsetid(DOMAIN, VERSION))
    model.ir_version = max(model.ir_version, _FIRST_IR)


def inline_functions(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with every call of an edgeml operator replaced by its body, weights still packed.

    The node that makes a call's output keeps the call's metadata. Sizes that a body computes from a call's attributes
    become constants, since some runtimes ask for that.

    Args:
        model: with the bodies attached; is not changed.

    Raises:
        EdgeMLError: a call does not fit its operator.
    """
    import onnx.inliner

    calls = {node.output[0]: node for node in model.graph.node if node.domain == DOMAIN and node.output}
    if not calls:
        return model
    functions = [(DOMAIN, function.name) for function in model.functions if function.domain == DOMAIN]
    try:
        result = onnx.inliner.inline_selected_functions(model, functions)
    except RuntimeError as error:
        raise EdgeMLError(f"an operator of {DOMAIN} is called in a form it does not have: {error}") from error
    for node in result.graph.node:
        call = calls.get(node.output[0]) if node.output else None
        if call is not None:
            del node.metadata_props[:]
            node.metadata_props.extend(call.metadata_props)
    imports = [entry for entry in result.opset_import if entry.domain != DOMAIN]
    del result.opset_import[:]
    result.opset_import.extend(imports)
    fold_sizes(result.graph, {name for node in model.graph.node for name in node.output})
    return result


def detach_functions(model: onnx.ModelProto) -> None:
    """Take the bodies of edgeml's operators out; the calls stay, so that nothing looks through or inlines them."""
    functions = [function for function in model.functions if function.domain != DOMAIN]
    del model.functions[:]
    model.functions.extend(functions)


def called_operators(model: onnx.ModelProto) -> frozenset[str]:
    """Names of the operators of edgeml's domain that the graph, its sub-graphs and its other functions call."""
    bodies = (function.node for function in model.functions if function.domain != DOMAIN)
    found = (node for nodes in (model.graph.node, *bodies) for node in _nodes(nodes))
    return frozenset(node.op_type for node in found if node.domain == DOMAIN)


def _nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                yield from _nodes(graph.node)
