"""Estimates what each part of a graph costs in float32 and in 8 bits, and what a change between the two costs.

The figures are nanoseconds of one thread, measured with onnxruntime 1.31's profiler on an x86 core with AVX512-VNNI
(TinyNet-C at 184 px; docs/export-a-model.md). Only their ratios matter: they decide a placement, they predict no time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx

# operator -> (float32, int8), per multiply-accumulate
_PER_MAC = {"Conv": (0.0123, 0.0050), "GroupedConv": (0.026, 0.038), "Gemm": (0.12, 0.037), "MatMul": (0.12, 0.037)}
# operator -> (float32, int8), per output element; pooling over a whole map counts its input
_PER_ELEMENT = {
    "SiLU": (0.18, 0.57), "Sigmoid": (0.26, 0.31), "Mul": (0.15, 0.26), "Add": (0.15, 0.30), "GlobalAveragePool":
    (0.075, 0.095), "AveragePool": (0.3, 0.3), "MaxPool": (0.3, 0.15), "Concat": (0.1, 0.05), "LeakyRelu": (0.15, 0.31),
    "Relu": (0.05, 0.0), "Clip": (0.05, 0.0), "Reshape": (0.0, 0.0), "Flatten": (0.0, 0.0), "Transpose": (0.1, 0.05),
    "Squeeze": (0.0, 0.0), "Unsqueeze": (0.0, 0.0),
}  # fmt: skip
QUANTIZABLE = frozenset({"Conv", "Gemm", "MatMul", *_PER_ELEMENT} - {"SiLU"})

# The profiler's figures for changes of type (0.19, 0.40, 3000) also count layout changes that the float graph makes
# anyway; these three were chosen among four settings by timing the whole of TinyNet-C.
_TO_INT8 = 0.15  # QuantizeLinear and the change of layout, per element
_TO_FLOAT = 0.20  # DequantizeLinear and the change of layout, per element
_BREAKS_SILU = 0.35  # a second DequantizeLinear, and x * sigmoid(x) no longer fused, per element
_CHANGE_FIXED = 1500.0  # starting the nodes that change the type


@dataclass(frozen=True)
class Part:
    """Nodes that are quantized together or not at all: one node, or one with its activation.

    Attributes:
        nodes: the nodes' names, in graph order.
        kind: the operator that stands for them ("Conv", "SiLU").
        macs: multiply-accumulates for one sample.
        float_ns: cost in float32.
        int8_ns: cost in 8 bits; None where onnxruntime has no such form.
    """

    nodes: tuple[str, ...]
    kind: str
    macs: int
    float_ns: float
    int8_ns: float | None


@dataclass(frozen=True)
class Wire:
    """A tensor between two parts; None stands for the model's input or output, which are float32.

    Attributes:
        source: index of the part that makes it.
        sink: index of the part that reads it.
        to_int8_ns: cost where a float part feeds an 8-bit one.
        to_float_ns: cost where an 8-bit part feeds a float one.
    """

    source: int | None
    sink: int | None
    to_int8_ns: float
    to_float_ns: float


def parts_and_wires(model: onnx.ModelProto) -> tuple[list[Part], list[Wire]]:
    """The graph as parts with costs, and the tensors between them.

    Args:
        model: with inferred shapes and names on all nodes; a dynamic axis counts as 1.
    """
    graph = model.graph
    shapes = _shapes(graph)
    groups = _groups(graph)
    index_of = {name: index for index, group in enumerate(groups) for name in (node.name for node in group)}
    parts = [_part(group, shapes) for group in groups]
    makers = {output: node for node in graph.node for output in node.output}
    wires: dict[tuple[int | None, int | None, str], Wire] = {}
    for node in graph.node:
        for value in node.input:
            if value not in makers and value not in {entry.name for entry in graph.input}:
                continue
            source = index_of[makers[value].name] if value in makers else None
            _add_wire(wires, source, index_of[node.name], value, parts, shapes)
    for output in graph.output:
        _add_wire(wires, index_of[makers[output.name].name], None, output.name, parts, shapes)
    return parts, list(wires.values())


def _add_wire(
    wires: dict[tuple[int | None, int | None, str], Wire],
    source: int | None,
    sink: int | None,
    value: str,
    parts: list[Part],
    shapes: Mapping[str, tuple[int, ...]],
) -> None:
    if source == sink:
        return
    elements = int(np.prod(shapes.get(value, (1,))))
    back = _TO_FLOAT + (_BREAKS_SILU if sink is not None and parts[sink].kind == "SiLU" else 0.0)
    wires[source, sink, value] = Wire(
        source, sink, _CHANGE_FIXED + _TO_INT8 * elements, _CHANGE_FIXED + back * elements
    )


def _groups(graph: onnx.GraphProto) -> list[list[onnx.NodeProto]]:
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for value in node.input:
            readers.setdefault(value, []).append(node)
    taken: set[str] = set()
    groups = []
    for node in graph.node:
        if node.name in taken:
            continue
        group = [node]
        following = readers.get(node.output[0], [])
        if node.op_type == "Sigmoid" and len(following) == 1 and following[0].op_type == "Mul":
            if set(following[0].input) == {node.input[0], node.output[0]}:
                group.append(following[0])
        elif node.op_type in {"Conv", "Gemm"} and len(following) == 1 and following[0].op_type in {"Relu", "Clip"}:
            group.append(following[0])
        taken.update(member.name for member in group)
        groups.append(group)
    return groups


def _part(group: list[onnx.NodeProto], shapes: Mapping[str, tuple[int, ...]]) -> Part:
    node = group[0]
    names = tuple(member.name for member in group)
    kind = "SiLU" if len(group) == 2 and node.op_type == "Sigmoid" else node.op_type
    if node.op_type in {"Conv", "Gemm", "MatMul"}:
        macs, grouped = _macs(node, shapes)
        float_ns, int8_ns = (macs * figure for figure in _PER_MAC["GroupedConv" if grouped else kind])
        return Part(names, kind, macs, float_ns, int8_ns)
    costs = _PER_ELEMENT.get(kind)
    if costs is None or node.domain:
        return Part(names, kind, 0, 0.0, None)
    counted = node.input[0] if kind == "GlobalAveragePool" else group[-1].output[0]
    elements = int(np.prod(shapes.get(counted, (1,))))
    return Part(names, kind, 0, costs[0] * elements, costs[1] * elements)


def _macs(node: onnx.NodeProto, shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, bool]:
    """Multiply-accumulates for one sample, and whether the convolution is grouped."""
    output, weight = shapes.get(node.output[0], (1,)), shapes.get(node.input[1], (1, 1))
    if node.op_type == "Conv":
        grouped = any(entry.name == "group" and entry.i > 1 for entry in node.attribute)
        return int(np.prod(output)) * int(np.prod(weight[1:])), grouped
    return int(np.prod(output)) * int(np.prod(weight)) // max(1, output[-1] if output else 1), False


def _shapes(graph: onnx.GraphProto) -> dict[str, tuple[int, ...]]:
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.output, *graph.value_info):
        dims = value.type.tensor_type.shape.dim
        shapes[value.name] = tuple(max(1, dim.dim_value) if dim.HasField("dim_value") else 1 for dim in dims)
    return shapes
