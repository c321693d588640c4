"""Faults that a wrong converter would leave in a graph, seeded on purpose."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx


def scale_weights(model: onnx.ModelProto, weight: str, factor: float) -> onnx.ModelProto:
    from onnx import numpy_helper

    tensor = next(entry for entry in model.graph.initializer if entry.name == weight)
    values = numpy_helper.to_array(tensor).copy()
    values[0] *= factor
    tensor.CopyFrom(numpy_helper.from_array(values, weight))
    return model


def zero_scale(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    from onnx import numpy_helper

    tensor = next(entry for entry in model.graph.initializer if entry.name == name)
    tensor.CopyFrom(numpy_helper.from_array(np.zeros_like(numpy_helper.to_array(tensor)), name))
    return model


def node_with_weight(model: onnx.ModelProto, weight: str) -> onnx.NodeProto:
    found: onnx.NodeProto = next(node for node in model.graph.node if weight in node.input)
    return found


def without_metadata(model: onnx.ModelProto) -> onnx.ModelProto:
    for node in model.graph.node:
        del node.metadata_props[:]
    return model
