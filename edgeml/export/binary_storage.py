"""Counts what the binary layers of an ONNX graph take in its file, beside what they would take in float32."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeml.core.binary_storage import BinaryStorage
from edgeml.ops.domain import DOMAIN
from edgeml.ops.registry import binary_operators

if TYPE_CHECKING:
    import onnx

_FLOAT32_BYTES = 4


def binary_storage(model: onnx.ModelProto) -> BinaryStorage | None:
    """The counts; None where no node of the main graph is one of edgeml's binary operators.

    A layer's bytes in the file are its node's and its constants'. A constant that two layers share counts once.
    """
    from onnx import TensorProto

    known = binary_operators()
    nodes = [node for node in model.graph.node if node.domain == DOMAIN and node.op_type in known]
    if not nodes:
        return None
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    used = {name for node in nodes for name in node.input[1:] if name in tensors}
    weight_bits = outputs = 0
    for node in nodes:
        filters, bits = _size(node, tensors)
        weight_bits += filters * bits
        outputs += filters
    floats = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT8}  # quantized weights are numbers as well
    return BinaryStorage(
        layers=len(nodes),
        weight_bits=weight_bits,
        file_bytes=sum(node.ByteSize() for node in nodes) + sum(tensors[name].ByteSize() for name in used),
        body_bytes=sum(body.ByteSize() for body in model.functions if body.domain == DOMAIN and body.name in known),
        float32_bytes=_FLOAT32_BYTES * (weight_bits + outputs),
        float_parameters=sum(_elements(tensor) for tensor in tensors.values() if tensor.data_type in floats),
    )


def _size(node: onnx.NodeProto, tensors: dict[str, onnx.TensorProto]) -> tuple[int, int]:
    """Filters of a layer and bits of each."""
    names = [entry.name for entry in binary_operators()[node.op_type].schema().inputs]
    scale = tensors.get(node.input[names.index("scale")])
    filters = 0 if scale is None else _elements(scale)
    attributes = {entry.name: entry for entry in node.attribute}
    if "features" in attributes:
        return filters, attributes["features"].i
    height, width = attributes["kernel_shape"].ints
    group = attributes["group"].i if "group" in attributes else 1
    return filters, attributes["channels"].i // group * height * width


def _elements(tensor: onnx.TensorProto) -> int:
    count = 1
    for size in tensor.dims:
        count *= size
    return count
