"""Makes a float16 form of a float32 graph; inputs and outputs stay float32."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgeml.export.clean import checked
from edgeml.export.run_onnx import run_values
from edgeml.export.to_onnx import silence
from edgeml.ops.domain import DOMAIN

if TYPE_CHECKING:
    import onnx

# Half of float16's largest number: a value seen on a few samples may double on others.
OVERFLOW = 65504.0 / 2


def to_fp16(model: onnx.ModelProto, inputs: npt.NDArray[np.float32]) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """The float16 graph, and the names of the nodes that stay float32 because their values would overflow.

    A node stays where a value it reads or makes exceeds half of float16's range on `inputs`. onnxruntime's CPU kernels
    compute most float16 operators in float32, so on a CPU the gain is the file's size. Binary operators read and make
    float32: their weights are bits already.

    Args:
        model: float32.
        inputs: float32 (batch, channels, height, width), real samples where there are any.
    """
    import onnx
    from onnx import numpy_helper
    from onnxruntime.quantization.onnx_model import ONNXModel
    from onnxruntime.transformers.float16 import convert_float_to_float16

    values: dict[str, npt.NDArray[Any]] = run_values(model, {model.graph.input[0].name: inputs})
    values |= {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    large = {name for name, value in values.items() if value.dtype == np.float32 and _peak(value) > OVERFLOW}
    blocked = tuple(node.name for node in model.graph.node if large & {*node.input, *node.output})
    binary = [node.name for node in model.graph.node if node.domain == DOMAIN]
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    with silence():
        result = convert_float_to_float16(copied, keep_io_types=True, node_block_list=[*blocked, *binary])
    _drop_repeated_casts(result.graph)
    _join_float32_neighbours(result.graph)
    ordered = ONNXModel(result)  # the converter appends its Casts at the end
    ordered.topological_sort()
    return checked(ordered.model), blocked


def _peak(value: npt.NDArray[Any]) -> float:
    return float(np.abs(value).max(initial=0.0))


def _drop_repeated_casts(graph: onnx.GraphProto) -> None:
    """The converter adds one Cast for every reader of a value that stays float32, all of the same name."""
    made: set[str] = set()
    kept = []
    for node in graph.node:
        if node.op_type == "Cast" and node.output[0] in made:
            continue
        made.update(node.output)
        kept.append(node)
    del graph.node[:]
    graph.node.extend(kept)


def _join_float32_neighbours(graph: onnx.GraphProto) -> None:
    """Between two nodes that stay float32 the converter casts to float16 and back, which would overflow after all."""
    from onnx import TensorProto

    casts = {node.output[0]: node for node in graph.node if node.op_type == "Cast"}
    source: dict[str, str] = {}
    for name, cast in casts.items():
        before = casts.get(cast.input[0])
        if before is not None and (before.attribute[0].i, cast.attribute[0].i) == (
            TensorProto.FLOAT16,
            TensorProto.FLOAT,
        ):
            source[name] = before.input[0]
    for node in graph.node:
        node.input[:] = [source.get(name, name) for name in node.input]
    outputs = {value.name for value in graph.output}
    used = {name for node in graph.node for name in node.input if node.output[0] not in source} | outputs
    kept = [node for node in graph.node if node.op_type != "Cast" or node.output[0] in used]
    del graph.node[:]
    graph.node.extend(kept)
