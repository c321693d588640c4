"""Writes QONNX's BipolarQuant, by which Brevitas and FINN mark binary values, in standard ONNX operators.

BipolarQuant (x, scale) is scale where x >= 0 and -scale elsewhere (qonnx, custom_op/general/bipolar_quant.py). Of a
constant it becomes a constant. NaN counts as +1, as in edgeml's own operators; QONNX leaves -1 there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgeml.core.errors import EdgeMLError
from edgeml.export.graph_values import GraphValues

if TYPE_CHECKING:
    import onnx

# The domain today and the two it had before; FINN's own operators live in others.
_DOMAINS = frozenset({"qonnx.custom_op.general", "finn.custom_op.general", "onnx.brevitas"})
_FIRST_OPSET = 9  # Where


def standard_operators(model: onnx.ModelProto) -> None:
    """Replace every BipolarQuant of the graph by operators that any runtime has; other files stay as they are.

    Raises:
        EdgeMLError: the file holds another of QONNX's operators, a scale that is not constant, or too old an opset.
    """
    if not any(node.domain in _DOMAINS for node in model.graph.node):
        return
    opset = max((entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"}), default=0)
    if opset < _FIRST_OPSET:
        raise EdgeMLError(f"a QONNX graph must be of opset {_FIRST_OPSET} or later, not {opset}; export it again")
    nodes: list[onnx.NodeProto] = []
    values = GraphValues(model.graph)
    for node in model.graph.node:
        nodes.extend(_rewritten(model.graph, values, node) if node.domain in _DOMAINS else [node])
    imports = [entry for entry in model.opset_import if entry.domain not in _DOMAINS]
    del model.graph.node[:], model.opset_import[:]
    model.graph.node.extend(nodes)
    model.opset_import.extend(imports)


def _rewritten(graph: onnx.GraphProto, values: GraphValues, node: onnx.NodeProto) -> list[onnx.NodeProto]:
    from onnx import helper, numpy_helper

    if node.op_type != "BipolarQuant" or len(node.input) != 2 or len(node.output) != 1:
        raise EdgeMLError(
            f"node {node.name or ', '.join(node.output)!r} is QONNX's {node.op_type}; of QONNX's operators edgeml "
            "reads BipolarQuant with a scale only: export a binary network, or use qonnx's converter to QCDQ first"
        )
    source, output = node.input[0], node.output[0]
    scale = values.constant(node.input[1])
    if scale is None:
        raise EdgeMLError(f"the scale of node {node.name or output!r} (BipolarQuant) is not constant; make it one")
    if scale.size == 1:
        scale = scale.reshape(())
    constant = values.constant(source)
    if constant is not None:
        try:
            signs = np.where(constant < 0, -scale, scale).astype(np.float32)
        except ValueError as error:
            raise EdgeMLError(f"the scale of node {node.name or output!r} does not fit its input: {error}") from error
        graph.initializer.append(numpy_helper.from_array(signs, output))
        return []
    names = [values.unused(f"{output}_{part}") for part in ("zero", "plus", "minus", "negative")]
    for name, content in zip(names[:3], (np.float32(0), scale, -scale), strict=True):
        graph.initializer.append(numpy_helper.from_array(np.asarray(content, np.float32), name))
    zero, plus, minus, negative = names
    less = helper.make_node("Less", [source, zero], [negative], name=f"{node.name or output}_negative")
    choice = helper.make_node("Where", [negative, minus, plus], [output], name=node.name or output)
    choice.metadata_props.extend(node.metadata_props)
    return [less, choice]
