"""The check of one ONNX file: what is looked at, in order."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from mmap import ACCESS_READ, mmap
from pathlib import Path

from edgeml.core.errors import EdgeMLError, UntrustedFileError, UsageError
from edgeml.core.onnx_guard.external import ExternalFiles
from edgeml.core.onnx_guard.functions import check_expansion
from edgeml.core.onnx_guard.limits import OnnxLimits, OnnxSummary
from edgeml.core.onnx_guard.scan import Scan

_DEFAULT = OnnxLimits()


def check_onnx_file(path: Path, limits: OnnxLimits = _DEFAULT) -> OnnxSummary:
    """What the ONNX file at `path` holds, once it is safe to hand to a library.

    The file is read in place by its wire format; nothing in it is built, executed or followed, and tensor data are not
    touched. A file that changes after the check is not covered.

    Args:
        path: the model, named *.onnx.
        limits: what it may ask for.

    Raises:
        UsageError: there is no such file, or it is no ONNX model.
        UntrustedFileError: it breaks a limit, contradicts itself, or reaches for files that are not its own.
    """
    with _mapped(path, limits) as buffer:
        try:
            return _check(buffer, path, limits)
        except EdgeMLError as error:
            raise type(error)(f"{path}: {error}") from error


def _check(buffer: mmap, path: Path, limits: OnnxLimits) -> OnnxSummary:
    external = ExternalFiles(path.parent)
    scan = Scan(buffer, limits, external)
    model = scan.model(len(buffer))
    check_expansion(scan.graph_operators, scan.function_operators, limits)
    return OnnxSummary(
        size_bytes=len(buffer),
        ir_version=model.get("ir_version", 0),
        opset_imports=tuple(
            (opset.get("domain", ""), opset.get("version", 0)) for opset in model.get("opset_import", [])
        ),
        nodes=scan.counts["NodeProto"],
        tensors=scan.counts["TensorProto"],
        attributes=scan.counts["AttributeProto"],
        value_infos=scan.counts["ValueInfoProto"],
        functions=scan.counts["FunctionProto"],
        metadata_entries=scan.counts["StringStringEntryProto"],
        tensor_bytes=scan.tensor_bytes,
        parsed_bytes=len(buffer) + scan.overhead_bytes,
        external_files=external.found(),
    )


@contextmanager
def _mapped(path: Path, limits: OnnxLimits) -> Iterator[mmap]:
    # Libraries choose a parser by the suffix (onnx reads *.json as JSON, onnxruntime *.ort as its own format), so a
    # verdict on the bytes as ONNX holds for this suffix only.
    if path.suffix.lower() != ".onnx":
        raise UsageError(f"{path} is not named *.onnx; rename it if it is an ONNX model")
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise UsageError(f"{path} is no regular file")
        descriptor = os.open(path, flags)
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read {path}: {getattr(error, 'strerror', error)}") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise UsageError(f"{path} is no regular file")
        if status.st_size == 0:
            raise UsageError(f"{path} is no ONNX model: it is empty")
        if status.st_size > limits.file_bytes:
            raise UntrustedFileError(f"{path} has {status.st_size} bytes; at most {limits.file_bytes} are allowed")
        buffer = mmap(descriptor, status.st_size, access=ACCESS_READ)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    finally:
        os.close(descriptor)
    with buffer:
        yield buffer
