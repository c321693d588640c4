"""The small models that tell what a device can do, and what onnxruntime's profiler adds to what it measures."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgeml.core.errors import MissingError

if TYPE_CHECKING:
    import onnx

_OPSET, _IR_VERSION = 18, 9


def import_onnx() -> ModuleType:
    """The onnx module.

    Raises:
        MissingError: it is not installed.
    """
    try:
        import onnx
    except ModuleNotFoundError as error:
        raise MissingError("onnx is not installed; install it with: pip install onnx") from error
    module: ModuleType = onnx
    return module


def product_model(size: int, *, int8: bool) -> bytes:
    """A product of `a`, float32 or uint8 (size, size), with a constant: as in a layer, it may be rearranged beforehand.

    Raises:
        MissingError: onnx is not installed.
    """
    helper = import_onnx().helper
    constants: dict[str, Any] = {"b": np.ones((size, size), np.int8 if int8 else np.float32)}
    if not int8:
        return _serialized([helper.make_node("MatMul", ["a", "b"], ["y"])], "y", (size, size), np.float32, constants)
    scales = {f"{name}_scale": np.float32(0.1) for name in "aby"}
    zeros = {"a_zero": np.uint8(0), "b_zero": np.int8(0), "y_zero": np.uint8(0)}
    inputs = ["a", "a_scale", "a_zero", "b", "b_scale", "b_zero", "y_scale", "y_zero"]
    node = helper.make_node("QLinearMatMul", inputs, ["y"])
    return _serialized([node], "y", (size, size), np.uint8, constants | scales | zeros)


def chain_model(length: int) -> bytes:
    """A chain of `length` operators that do next to nothing, on one value `a`, float32 (1,), which no fusion shortens.

    Raises:
        MissingError: onnx is not installed.
    """
    helper = import_onnx().helper
    names = ["a", *(f"value{index}" for index in range(length))]
    nodes = [
        helper.make_node("Neg" if index % 2 else "Sin", [names[index]], [names[index + 1]], name=f"node{index}")
        for index in range(length)
    ]
    return _serialized(nodes, names[-1], (1,), np.float32, {})


def _serialized(
    nodes: list[onnx.NodeProto],
    output: str,
    shape: tuple[int, ...],
    dtype: type[np.generic],
    constants: Mapping[str, npt.NDArray[Any]],
) -> bytes:
    """A model from `a` to `output`, both of this shape and dtype."""
    from onnx import helper, numpy_helper

    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    graph = helper.make_graph(
        nodes,
        "probe",
        [helper.make_tensor_value_info("a", kind, shape)],
        [helper.make_tensor_value_info(output, kind, shape)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)
    content: bytes = model.SerializeToString()
    return content
