"""Tries a model's nodes one at a time in TVM, to find the ones to blame where the whole cannot be compiled.

It runs in the compiling process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from edgeml.compiler.lint.operator_limits import Finding, finding, known_limits
from edgeml.core.target import Target

if TYPE_CHECKING:
    import onnx

Report = Callable[[dict[str, Any]], None]


def refused_nodes(model: onnx.ModelProto, target: Target, *, skip: set[int], report: Report) -> list[Finding]:
    """The nodes of `model` that cannot be compiled, in the graph's order.

    Args:
        model: the checked model.
        target: what it would be compiled for.
        skip: indices of nodes that are known to take this process down.
        report: told of the node that is about to be tried.
    """
    build = _builder(target)
    found = known_limits(model)
    if not found and not skip:
        try:
            build(model, target)
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001  whatever TVM raises means that it cannot take the model
            whole = str_of(error)
        else:
            return []
    else:
        whole = ""
    known = {(each.name, each.operator) for each in found}
    verdicts: dict[bytes, str | None] = {}
    for index, node, trial in _one_node_models(model):
        if index in skip or (node.name, node.op_type) in known:
            continue
        signature = _signature(trial)
        if signature not in verdicts:
            report({"trying": index})
            verdicts[signature] = _try(build, trial, target)
        if (reason := verdicts[signature]) is not None:
            found.append(finding(node, reason))
    if not found and not skip and whole:
        found.append(
            Finding(
                operator="the graph as a whole",
                domain="",
                name="",
                reason=whole,
                way_round="every operator compiles by itself: look at shapes that depend on values, or use onnxruntime",
            )
        )
    return found


def _builder(target: Target) -> Callable[[onnx.ModelProto, Target], object]:
    if target.kind != "cuda":
        from edgeml.compiler.pipeline import build

        return build

    from edgeml.compiler.cuda.build import build_cuda
    from edgeml.compiler.onnx_import import import_onnx

    return lambda model, target: build_cuda(import_onnx(model), target)


def str_of(error: BaseException) -> str:
    """The error's type and the last line of its message: TVM puts the traces of its insides above it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}{': ' if lines else ''}{lines[-1] if lines else ''}"[:300]


def _try(build: Callable[..., Any], trial: onnx.ModelProto, target: Target) -> str | None:
    try:
        build(trial, target)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001  see refused_nodes
        return str_of(error)
    return None


def _one_node_models(model: onnx.ModelProto) -> Iterator[tuple[int, onnx.NodeProto, onnx.ModelProto]]:
    """For each node whose inputs have known types: its index, itself, and a model of it alone with its constants."""
    import onnx

    try:
        graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    except (onnx.shape_inference.InferenceError, ValueError, RuntimeError):
        graph = model.graph
    types = {value.name: value for value in (*graph.input, *graph.value_info, *graph.output)}
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and len(node.attribute) == 1 and node.attribute[0].HasField("t"):
            tensor = onnx.TensorProto()
            tensor.CopyFrom(node.attribute[0].t)
            tensor.name = node.output[0]
            constants[node.output[0]] = tensor
    for index, node in enumerate(graph.node):
        names = dict.fromkeys([*(name for name in node.input if name), *_captured(node)])
        variable = [types.get(name) for name in names if name not in constants]
        if any(value is None for value in variable):
            continue
        trial = onnx.helper.make_model(
            onnx.helper.make_graph(
                [node],
                "node",
                [value for value in variable if value is not None],
                [types.get(name, onnx.ValueInfoProto(name=name)) for name in node.output if name],
                [constants[name] for name in names if name in constants],
            ),
            opset_imports=list(model.opset_import),
            ir_version=model.ir_version,
        )
        trial.functions.extend(model.functions)
        yield index, node, trial


def _captured(node: onnx.NodeProto) -> list[str]:
    """Names that the node's subgraphs take from around them."""
    found: list[str] = []
    for attribute in node.attribute:
        for graph in [attribute.g] if attribute.HasField("g") else list(attribute.graphs):
            made = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
            for inner in graph.node:
                found += [name for name in (*inner.input, *_captured(inner)) if name and name not in made]
                made |= set(inner.output)
            found += [value.name for value in graph.output if value.name not in made]
    return found


def _signature(trial: onnx.ModelProto) -> bytes:
    """Equal for nodes that differ in nothing but names and the values of large constants."""
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(trial)
    names: dict[str, str] = {}

    def neutral(name: str) -> str:
        return names.setdefault(name, f"v{len(names)}") if name else ""

    node = copy.graph.node[0]
    node.name = node.doc_string = ""
    if not any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
        node.input[:] = [neutral(name) for name in node.input]
        node.output[:] = [neutral(name) for name in node.output]
        for value in (*copy.graph.input, *copy.graph.output):
            value.name = neutral(value.name)
            value.ClearField("doc_string")
        for tensor in copy.graph.initializer:
            tensor.name = neutral(tensor.name)
            if len(tensor.raw_data) > _SMALL_BYTES:
                tensor.raw_data = b""
    del copy.metadata_props[:]
    del node.metadata_props[:]
    return bytes(copy.SerializeToString(deterministic=True))


_SMALL_BYTES = 64  # axes, shapes and their like, whose values decide what the importer does
