"""Finds where a graph takes signs, and holds them: the signs are given from outside, and what they came from is shown.

sign() jumps. Where a value lies within rounding of a threshold, two correct forms of one network can take different
signs, and from there on compute different numbers. So two forms are compared with their binarizations held: every
binary operator reads the reference's values, and the values it would have read become outputs. Between them the network
is continuous, and what differs there differs by an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgeml.export.run_onnx import Values, input_spec, run_values
from edgeml.ops.domain import DOMAIN
from edgeml.ops.registry import binary_operators

if TYPE_CHECKING:
    import onnx

Margins = npt.NDArray[np.float64]
_HELD = "edgeml_held_"


@dataclass(frozen=True)
class Binarization:
    """One place in a graph where signs are taken: negative where the value is below the threshold.

    Attributes:
        position: index of the node in the graph.
        node: the node's name.
        op_type: "BinaryConv", "BinaryDense", "TreeBinaryConv", or "Less" where a function's body stands in its place.
        value: name of the value that is binarized.
        threshold: float32, of a shape that broadcasts against the value.
    """

    position: int
    node: str
    op_type: str
    value: str
    threshold: npt.NDArray[np.float32]

    @property
    def layer(self) -> str:
        """What to call it: the node, or the value where nodes have no names."""
        return self.node or self.value

    def margins(self, value: npt.NDArray[Any]) -> Margins:
        """How far the value lies above its threshold: what has the signs, wherever folding moved the threshold."""
        return value.astype(np.float64) - self.threshold

    def value_of(self, margins: Margins) -> npt.NDArray[np.float32]:
        """A value with exactly these signs, and these margins up to rounding."""
        value = (margins + self.threshold).astype(np.float32)
        below = np.broadcast_to(np.nextafter(self.threshold, np.float32(-np.inf)), value.shape)
        negative = margins < 0
        value = np.where(negative & ~(value < self.threshold), below, value)
        return np.where(~negative & (value < self.threshold), self.threshold, value)


def binarizations(model: onnx.ModelProto) -> tuple[Binarization, ...]:
    """Where `model` takes signs, in the order of its nodes: at binary operators, and at their bodies written out."""
    nodes = list(model.graph.node)
    known = binary_operators()
    slots = {
        op_type: [entry.name for entry in known[op_type].schema().inputs].index("threshold")
        for op_type in {node.op_type for node in nodes if node.domain == DOMAIN and node.op_type in known}
    }
    named = {
        index: node.input[slots[node.op_type]]
        for index, node in enumerate(nodes)
        if node.domain == DOMAIN and node.op_type in slots
    }
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in nodes:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    for index, node in enumerate(nodes):
        following = readers.get(node.output[0], [])
        # The body's form: Where(Less(X, threshold), -1, +1).
        if node.op_type == "Less" and not node.domain and [entry.op_type for entry in following] == ["Where"]:
            named[index] = node.input[1]
    if not named:
        return ()
    constants = _constants(model, set(named.values()))
    return tuple(
        Binarization(
            index, node.name, node.op_type, node.input[0], _broadcastable(constants[named[index]], node.op_type)
        )
        for index, node in enumerate(nodes)
        if index in named and named[index] in constants
    )


def hold(model: onnx.ModelProto, places: Sequence[Binarization]) -> onnx.ModelProto:
    """The model with each binarized value read from a further input, and the value itself a further output.

    The inputs are named by `held_name`; an output keeps its value's name.
    """
    import onnx

    held = onnx.ModelProto()
    held.CopyFrom(model)
    graph = held.graph
    shown = {value.name for value in (*graph.output, *graph.input)}
    for number, place in enumerate(places):
        node = graph.node[place.position]
        node.input[0] = held_name(number)
        rank = _rank(model, place)
        graph.input.append(
            onnx.helper.make_tensor_value_info(
                held_name(number), onnx.TensorProto.FLOAT, None if rank is None else [None] * rank
            )
        )
        if place.value not in shown:
            shown.add(place.value)
            graph.output.append(onnx.ValueInfoProto(name=place.value))
    return held


def held_name(number: int) -> str:
    """Name of the input that stands for the value binarized at the place of that number."""
    return f"{_HELD}{number}"


def held_feeds(
    model: onnx.ModelProto,
    places: Sequence[Binarization],
    inputs: npt.NDArray[np.float32],
    margins: Sequence[Margins],
) -> Values:
    """What to feed a held model: the input of the network, and values with the reference's signs."""
    values = (place.value_of(margin) for place, margin in zip(places, margins, strict=True))
    return {input_spec(model)[0]: inputs, **{held_name(number): value for number, value in enumerate(values)}}


def margins_of(
    model: onnx.ModelProto, places: Sequence[Binarization], inputs: npt.NDArray[np.float32]
) -> tuple[Margins, ...]:
    """The margins that `model` computes when nothing is held, one array a place."""
    name = input_spec(model)[0]
    values = run_values(model, {name: inputs}, [place.value for place in places])
    values[name] = inputs
    return tuple(place.margins(values[place.value]) for place in places)


def _constants(model: onnx.ModelProto, names: set[str]) -> dict[str, npt.NDArray[np.float32]]:
    """Those of the values that do not depend on the model's input."""
    import onnx
    from onnx import numpy_helper

    found = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer if tensor.name in names}
    rest = names - found.keys()
    fixed = {tensor.name for tensor in model.graph.initializer}
    computed = onnx.ModelProto()
    computed.CopyFrom(model)
    kept = []
    for node in model.graph.node:
        if all(name in fixed or not name for name in node.input):
            fixed.update(node.output)
            kept.append(node)
    if not rest & fixed:
        return found
    del computed.graph.node[:], computed.graph.input[:], computed.graph.output[:]
    computed.graph.node.extend(kept)
    return found | run_values(computed, {}, sorted(rest & fixed))


def _broadcastable(threshold: npt.NDArray[np.float32], op_type: str) -> npt.NDArray[np.float32]:
    return threshold if op_type in {"BinaryDense", "Less"} else threshold.reshape(-1, 1, 1)


def _rank(model: onnx.ModelProto, place: Binarization) -> int | None:
    if place.op_type.endswith("BinaryConv"):
        return 4
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output):
        if value.name == place.value and value.type.tensor_type.HasField("shape"):
            return len(value.type.tensor_type.shape.dim)
    return None
