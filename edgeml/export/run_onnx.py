"""Runs an ONNX model that is still in memory, and shows any value inside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgeml.core.errors import EdgeMLError
from edgeml.runtime.threads import available_threads

if TYPE_CHECKING:
    import onnx

Values = dict[str, npt.NDArray[Any]]
_FATAL_ONLY = 4
_BATCH = 32


def run_onnx(model: onnx.ModelProto, feeds: Values, *, optimize: bool = True) -> Values:
    """Outputs by name for one batch, by onnxruntime on the CPU.

    Args:
        model: at most 2 GB.
        feeds: inputs by name.
        optimize: False runs the graph node by node as it is written.

    Raises:
        EdgeMLError: onnxruntime cannot load or run it.
    """
    return _run(_open(model, optimize=optimize), feeds)


def run_samples(model: onnx.ModelProto, inputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The first output, float32 (sample, ...), for all samples (sample, ...), taken in batches the model accepts."""
    session = _open(model, optimize=True)
    name, output = session.get_inputs()[0].name, session.get_outputs()[0].name
    batch = session.get_inputs()[0].shape[0]
    size = batch if isinstance(batch, int) else _BATCH
    parts = []
    for start in range(0, len(inputs), size):
        part = inputs[start : start + size]
        padded = (
            np.concatenate([part, np.repeat(part[-1:], size - len(part), axis=0)]) if isinstance(batch, int) else part
        )
        parts.append(_run(session, {name: padded})[output][: len(part)])
    return np.concatenate(parts).astype(np.float32)


def run_values(model: onnx.ModelProto, feeds: Values, names: Sequence[str] | None = None) -> Values:
    """Values inside the graph by name for one batch: all outputs of its nodes, or those in `names`."""
    import onnx

    made = {name for node in model.graph.node for name in node.output if name}
    wanted = made if names is None else made & set(names)
    traced = onnx.ModelProto()
    traced.CopyFrom(model)
    del traced.graph.output[:]
    # Without a type onnxruntime infers the value's own.
    traced.graph.output.extend(onnx.ValueInfoProto(name=name) for name in sorted(wanted))
    return _run(_open(traced, optimize=False), feeds)


def input_spec(model: onnx.ModelProto) -> tuple[str, tuple[int | None, ...]]:
    """Name and shape of the only input; None for a dynamic axis.

    Raises:
        EdgeMLError: the model does not have exactly one input that is a float32 tensor.
    """
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    if len(inputs) != 1 or inputs[0].type.tensor_type.elem_type != 1:
        raise EdgeMLError(f"the model has {len(inputs)} inputs; edgeml compares models with one float32 input")
    dims = inputs[0].type.tensor_type.shape.dim
    return inputs[0].name, tuple(dim.dim_value if dim.HasField("dim_value") else None for dim in dims)


def _open(model: onnx.ModelProto, *, optimize: bool) -> Any:
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = available_threads()
    settings.log_severity_level = _FATAL_ONLY
    if not optimize:
        settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return onnxruntime.InferenceSession(model.SerializeToString(), settings, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors share no base class but Exception
        raise EdgeMLError(f"onnxruntime cannot load the graph: {str(error)[:300]}") from error


def _run(session: Any, feeds: Values) -> Values:
    names = [output.name for output in session.get_outputs()]
    try:
        return dict(zip(names, session.run(names, feeds), strict=True))
    except Exception as error:  # see _open
        raise EdgeMLError(f"onnxruntime cannot run the graph: {str(error)[:300]}") from error
