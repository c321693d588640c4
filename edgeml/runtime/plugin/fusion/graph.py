"""An ONNX graph that is being rewritten: who makes and reads a tensor, constants as arrays, new nodes and names."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import onnx

Array = npt.NDArray[Any]


# Inputs that the operators which fusion looks at cannot do without.
_LEAST_INPUTS = {
    "Add": 2, "AveragePool": 1, "BatchNormalization": 5, "BinaryConv": 5, "Conv": 2, "MaxPool": 1, "PRelu": 2,
    "Relu": 1, "Sub": 2,
}  # fmt: skip


def is_sound(model: onnx.ModelProto) -> bool:
    """Whether the main graph's nodes stand in order, make each tensor once and have the inputs they need."""
    known = {value.name for value in model.graph.input} | {tensor.name for tensor in model.graph.initializer} | {""}
    made: set[str] = set()
    for node in model.graph.node:
        outputs = [name for name in node.output if name]
        if not outputs or not set(node.input) <= known | made or made & set(outputs):
            return False
        if len(node.input) < _LEAST_INPUTS.get(node.op_type, 0):
            return False
        made.update(outputs)
    return True


class Graph:
    """A view of a model's main graph; `write` puts the changes into the model.

    Attributes:
        model: the model, changed by `write`.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        from onnx import shape_inference

        self.model = model
        self._nodes = list(model.graph.node)
        self._constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self._outputs = {value.name for value in model.graph.output}
        self._names = {name for node in self._nodes for name in [*node.input, *node.output]} | set(self._constants)
        self._makers = {output: node for node in self._nodes for output in node.output if output}
        self._readers: defaultdict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in self._nodes:
            for name in node.input:
                self._readers[name].append(node)
        try:
            inferred = shape_inference.infer_shapes(model).graph
        except shape_inference.InferenceError:  # onnxruntime will say what is wrong with the model
            inferred = model.graph
        self._shapes = {
            value.name: tuple(dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim)
            for value in [*inferred.input, *inferred.value_info, *inferred.output]
            if value.type.tensor_type.HasField("shape")
        }
        self._removed: set[int] = set()
        self._before: defaultdict[int, list[onnx.NodeProto]] = defaultdict(list)

    @property
    def nodes(self) -> tuple[onnx.NodeProto, ...]:
        """The model's own nodes, in their order."""
        return tuple(self._nodes)

    def maker(self, tensor: str) -> onnx.NodeProto | None:
        """The node that computes a tensor; None for inputs and constants."""
        return self._makers.get(tensor)

    def readers(self, tensor: str) -> tuple[onnx.NodeProto, ...]:
        """The nodes that read a tensor, once for each time they do."""
        return tuple(self._readers[tensor])

    def only_reader(self, tensor: str) -> onnx.NodeProto | None:
        """The one node that reads a tensor; None where there are several, or it is an output of the model."""
        readers = self._readers[tensor]
        return readers[0] if len(readers) == 1 and tensor not in self._outputs else None

    def is_output(self, tensor: str) -> bool:
        """Whether the model gives the tensor to its user."""
        return tensor in self._outputs

    def constant(self, tensor: str) -> Array | None:
        """The value of a constant; None where the tensor is computed or given."""
        from onnx import numpy_helper

        held = self._constants.get(tensor)
        return None if held is None else numpy_helper.to_array(held)

    def shape(self, tensor: str) -> tuple[int | str, ...] | None:
        """The tensor's shape, symbols as strings; None where it is not known."""
        return self._shapes.get(tensor)

    def add_constant(self, hint: str, value: Array) -> str:
        """The name of a new constant."""
        from onnx import numpy_helper

        name = self.fresh(hint)
        tensor = numpy_helper.from_array(np.ascontiguousarray(value), name)
        self.model.graph.initializer.append(tensor)
        self._constants[name] = tensor
        return name

    def fresh(self, hint: str) -> str:
        """A name that nothing has."""
        name, number = hint, 1
        while name in self._names:
            number += 1
            name = f"{hint}_{number}"
        self._names.add(name)
        return name

    def insert(
        self, place: onnx.NodeProto, operator: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any
    ) -> None:
        """Put a new node just before `place`, one of the model's own nodes."""
        from onnx import helper

        self._before[id(place)].append(helper.make_node(operator, inputs, outputs, **attributes))

    def remove(self, node: onnx.NodeProto) -> None:
        """Take away one of the model's own nodes."""
        self._removed.add(id(node))

    def write(self) -> None:
        """Put the changes into the model."""
        kept: list[onnx.NodeProto] = []
        for node in self._nodes:
            kept += self._before[id(node)]
            if id(node) not in self._removed:
                kept.append(node)
        del self.model.graph.node[:]
        self.model.graph.node.extend(kept)


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """A node's attributes as plain values."""
    from onnx import helper

    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
