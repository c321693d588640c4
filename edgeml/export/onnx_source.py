"""Reads an ONNX file from outside, after the safety check."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgeml.core.errors import EdgeMLError, UntrustedFileError
from edgeml.core.onnx_guard import check_onnx_file
from edgeml.export.late_signs import take_signs_late
from edgeml.export.qonnx import standard_operators

if TYPE_CHECKING:
    import onnx


def read_onnx(path: Path) -> onnx.ModelProto:
    """The model in an ONNX file, its external data loaded, QONNX's binary quantizers in standard operators.

    Raises:
        UsageError: there is no such file.
        UntrustedFileError: the file breaks a safety limit, or is no ONNX model.
        EdgeMLError: the graph is not valid ONNX, or holds an operator of QONNX that cannot be read.
    """
    check_onnx_file(path)
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(path)
    except (DecodeError, ValueError, OSError, onnx.checker.ValidationError) as error:
        raise UntrustedFileError(f"{path} is no ONNX file that can be read: {error}") from error
    standard_operators(model)
    take_signs_late(model.graph)
    try:
        return onnx.shape_inference.infer_shapes(model)
    except onnx.shape_inference.InferenceError as error:
        raise EdgeMLError(f"{path} is not valid ONNX: {str(error).splitlines()[0]}") from error
