"""Cleans an ONNX graph: folds what is constant, drops what is unused, keeps the torch names that parity needs.

onnxscript's optimizer does the work, for graphs from torch and for foreign files alike: it keeps the nodes' metadata,
which ties every node to its torch module (onnxslim 0.1 drops it), and works on the graph in memory. Binary layers
become edgeml's own operators first, whose bodies it must not see: it would unpack their weights into floats.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from edgeml.core.errors import EdgeMLError, needs_extra
from edgeml.export.binary_layers import use_binary_operators
from edgeml.export.fold_binary import fold_binary
from edgeml.export.to_onnx import silence
from edgeml.ops import attach

if TYPE_CHECKING:
    import onnx

SCOPES_KEY = "pkg.torch.onnx.name_scopes"
_MAX_BYTES = (2 << 30) - 1


def clean(model: onnx.ModelProto, *, inline_functions: bool = False) -> onnx.ModelProto:
    """An equivalent model: folded, pruned, pooled, without machine paths, checked.

    Args:
        model: is not changed.
        inline_functions: replace calls of model-local functions by their bodies, for runtimes without functions.

    Raises:
        EdgeMLError: the result is not valid ONNX, or does not fit one file (2 GB).
        MissingError: onnxscript is not installed.
    """
    with needs_extra("train"):
        import onnx.inliner
        from onnxscript import optimizer

    result = onnx.ModelProto()
    result.CopyFrom(model)
    attach.detach_functions(result)
    if inline_functions:
        result = onnx.inliner.inline_local_functions(result)
    result = use_binary_operators(result)
    with silence():
        result = optimizer.optimize(result)
    fold_binary(result)
    _pool_instead_of_mean(result.graph)
    _drop_unused_initializers(result.graph)
    strip_metadata(result)
    result.doc_string = ""
    attach.attach_functions(result)
    if inline_functions:
        result = attach.inline_functions(result)
    return checked(result)


def checked(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with inferred shapes, after ONNX's full check.

    Raises:
        EdgeMLError: the model is not valid ONNX, or too large for one file.
    """
    import onnx

    if model.ByteSize() > _MAX_BYTES:
        raise EdgeMLError(f"the model takes {model.ByteSize()} bytes; one ONNX file holds at most {_MAX_BYTES}")
    try:
        del model.graph.value_info[:]
        inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
        onnx.checker.check_model(inferred, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise EdgeMLError(f"the exported graph is not valid ONNX: {str(error).splitlines()[0]}") from error
    return inferred


def to_bytes(model: onnx.ModelProto) -> bytes:
    """The file's bytes, the same for the same model on every run."""
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def strip_metadata(model: onnx.ModelProto) -> None:
    """Drop metadata and doc strings (stack traces hold machine paths), except the scopes of torch modules."""
    for node in model.graph.node:
        _keep_scopes(node)
    for function in model.functions:
        del function.metadata_props[:]
        for node in function.node:
            _keep_scopes(node)
    graph = model.graph
    for value in (graph, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        del value.metadata_props[:]
        value.doc_string = ""


def _keep_scopes(node: onnx.NodeProto) -> None:
    scopes = [entry.value for entry in node.metadata_props if entry.key == SCOPES_KEY]
    del node.metadata_props[:]
    node.doc_string = ""
    for value in scopes:
        node.metadata_props.add(key=SCOPES_KEY, value=value)


def _drop_unused_initializers(graph: onnx.GraphProto) -> None:
    used = {name for node in graph.node for name in node.input} | {output.name for output in graph.output}
    if any(attribute.HasField("g") or attribute.graphs for node in graph.node for attribute in node.attribute):
        return  # a sub-graph may use any of them
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _pool_instead_of_mean(graph: onnx.GraphProto) -> None:
    """Write means over all spatial axes as GlobalAveragePool, which has an integer form and blocked-layout kernels."""
    import onnx
    from onnx import numpy_helper

    constants = {tensor.name: tensor for tensor in graph.initializer}
    ranks = {value.name: len(value.type.tensor_type.shape.dim) for value in (*graph.value_info, *graph.input)}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        attributes = {entry.name: entry for entry in node.attribute}
        named = len(node.input) == 2 and node.input[1] in constants
        if node.op_type != "ReduceMean" or node.domain or not named or ranks.get(node.input[0]) != 4:
            nodes.append(node)
            continue
        if not _is_spatial(numpy_helper.to_array(constants[node.input[1]]).ravel().tolist()):
            nodes.append(node)
            continue
        keep = attributes["keepdims"].i if "keepdims" in attributes else 1
        output = node.output[0]
        pooled = output if keep else f"{output}_pooled"
        pool = onnx.helper.make_node("GlobalAveragePool", [node.input[0]], [pooled], name=node.name)
        pool.metadata_props.extend(node.metadata_props)
        nodes.append(pool)
        if not keep:
            flatten = onnx.helper.make_node("Flatten", [pooled], [output], name=f"{node.name}_flatten", axis=1)
            flatten.metadata_props.extend(node.metadata_props)
            nodes.append(flatten)
    del graph.node[:]
    graph.node.extend(nodes)


def _is_spatial(axes: Iterable[int]) -> bool:
    return sorted(axis % 4 for axis in axes) == [2, 3]
