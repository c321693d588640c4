"""Computes the sizes in a graph that follow from its constants, since some runtimes ask for constants there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import onnx

# Shapes are lists of a few integers; weights stay as they are stored.
_MOST_ELEMENTS = 64


def evaluate(node: onnx.NodeProto, inputs: dict[str, Any]) -> npt.NDArray[Any] | None:
    """The first output of a standard operator by ONNX's reference; None where its inputs do not fit it."""
    from onnx.reference import ReferenceEvaluator

    try:
        with np.errstate(all="raise"):
            results: Any = ReferenceEvaluator(node).run(None, inputs)
    except (ValueError, TypeError, IndexError, AttributeError, ArithmeticError, RuntimeError):
        return None  # whoever runs the graph will say what is wrong
    return np.asarray(results[0]) if results else None


def fold_sizes(graph: onnx.GraphProto, kept: set[str]) -> None:
    """Replace integers that follow from constants alone by constants, in place; those named in `kept` stay computed."""
    from onnx import numpy_helper

    sizes: dict[str, Any] = {}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.domain or kept & set(node.output) or not all(name in sizes for name in node.input):
            nodes.append(node)
            continue
        value = evaluate(node, {name: sizes[name] for name in node.input})
        if value is None or value.dtype != np.int64 or value.size > _MOST_ELEMENTS:
            nodes.append(node)
            continue
        sizes[node.output[0]] = value
    read = {name for node in nodes for name in node.input}
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in sizes.items() if name in read)
    del graph.node[:]
    graph.node.extend(nodes)
