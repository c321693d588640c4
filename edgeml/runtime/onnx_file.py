"""Opens a model file as an Artifact: by its manifest, or by looking into a file of unknown origin."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgeml.core.artifact import Artifact, Precision, load_manifest, sha256_file
from edgeml.core.errors import UntrustedFileError, UsageError
from edgeml.core.onnx_guard import check_onnx_file
from edgeml.core.tensor_spec import TensorSpec

if TYPE_CHECKING:
    import onnx

_INTEGER_OPERATORS = frozenset(
    {
        "ConvInteger",
        "DequantizeLinear",
        "DynamicQuantizeLinear",
        "MatMulInteger",
        "QLinearConv",
        "QLinearMatMul",
        "QuantizeLinear",
    }
)


def open_artifact(path: Path) -> Artifact:
    """The artifact in the file `path`, which is checked before a library opens it.

    Where a manifest lies beside the file, it is believed if its digest is the file's. Otherwise the interface is read
    from the graph and the precision is guessed: "int8" with any quantized operator, "fp16" where float16 weights
    outnumber float32 ones, else "fp32".

    Raises:
        UsageError: there is no such file, or it is no model.
        UntrustedFileError: the file breaks a safety limit.
        CheckFailedError: the file is not the one its manifest was written for.
    """
    if not path.is_file():
        raise UsageError(f"there is no model file {path}")
    artifact = load_manifest(path)
    if artifact is not None and artifact.format != "onnx":
        return artifact
    if artifact is None and path.suffix != ".onnx":
        raise UsageError(f"{path} is no model file that edgeml opens: it must end in .onnx or have a manifest")
    check_onnx_file(path)
    return _describe(path) if artifact is None else artifact


def _describe(path: Path) -> Artifact:
    import onnx
    from google.protobuf.message import DecodeError

    try:
        graph = onnx.load(path, load_external_data=False).graph
    except (DecodeError, ValueError, OSError) as error:
        raise UntrustedFileError(f"{path} is no ONNX file that can be read: {error}") from error
    constants = {tensor.name for tensor in graph.initializer}  # before IR version 4 they are listed as inputs too
    return Artifact(
        path=path,
        format="onnx",
        model=path.stem,
        precision=_precision(graph),
        inputs=tuple(_spec(value) for value in graph.input if value.name not in constants),
        outputs=tuple(_spec(value) for value in graph.output),
        sha256=sha256_file(path),
    )


def _spec(value: onnx.ValueInfoProto) -> TensorSpec:
    import onnx

    tensor = value.type.tensor_type
    try:
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
    except KeyError as error:
        raise UsageError(
            f"{value.name} is no tensor; edgeml takes models whose inputs and outputs are tensors"
        ) from error
    shape = tuple(
        axis.dim_value if axis.HasField("dim_value") else axis.dim_param or f"{value.name}_axis{index}"
        for index, axis in enumerate(tensor.shape.dim)
    )
    return TensorSpec(value.name, shape, "str" if dtype == "object" else dtype)


def _precision(graph: onnx.GraphProto) -> Precision:
    import onnx

    if any(node.op_type in _INTEGER_OPERATORS for node in graph.node):
        return "int8"
    elements = {onnx.TensorProto.FLOAT16: 0, onnx.TensorProto.FLOAT: 0}
    for tensor in graph.initializer:
        if tensor.data_type in elements:
            count = 1
            for size in tensor.dims:
                count *= size
            elements[tensor.data_type] += count
    return "fp16" if elements[onnx.TensorProto.FLOAT16] > elements[onnx.TensorProto.FLOAT] else "fp32"
