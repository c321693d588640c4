"""Opens one file of a pair with onnxruntime, and tells whether native kernels run all of it that is edgeml's own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgeml.core.errors import EdgeMLError, MissingError, UsageError
from edgeml.core.onnx_guard import check_onnx_file
from edgeml.core.session import SessionOptions
from edgeml.core.tensor_spec import TensorSpec
from edgeml.ops.attach import detach_functions
from edgeml.ops.domain import DOMAIN
from edgeml.runtime.onnxruntime_loading import create_session, failures, reason, session_settings, tensor_spec
from edgeml.runtime.plugin.registration import register_plugin, uses_own_operators
from edgeml.runtime.streaming.aliasing import states_may_alias
from edgeml.runtime.streaming.metadata import METADATA_KEY, Role, VideoMetadata, parse_metadata

if TYPE_CHECKING:
    import onnx
    import onnxruntime


@dataclass(frozen=True, kw_only=True)
class GraphSession:
    """One loaded file of a pair.

    Attributes:
        path: the file.
        session: onnxruntime's; several threads may run it at once.
        metadata: what the file says of itself.
        inputs: the frame, then the states.
        outputs: those of the network, the states' successors, `activity`; in the file's order.
        native_kernel: the instruction set of the native kernels ("avx2") that run all of edgeml's own operators in it;
            None where it has none, or where standard operators run them.
        in_place: whether a state's successor may be written where the state lies.
    """

    path: Path
    session: onnxruntime.InferenceSession
    metadata: VideoMetadata
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    native_kernel: str | None
    in_place: bool


def open_graph(path: Path, role: Role, options: SessionOptions) -> GraphSession:
    """Load one file of a pair, after the safety check.

    Raises:
        UntrustedFileError: the file breaks a safety limit.
        UsageError: there is no such file, or it is not that file of a pair.
        MissingError: onnxruntime is not installed.
        EdgeMLError: onnxruntime failed to load it.
    """
    import onnx
    from google.protobuf.message import DecodeError

    check_onnx_file(path)
    try:
        model = onnx.load(path, load_external_data=False)
    except (DecodeError, ValueError, OSError) as error:
        raise UsageError(f"{path} is no ONNX file that can be read: {error}") from error
    metadata = _metadata(model, path)
    if metadata.role != role:
        raise UsageError(f"{path} says that it is the {metadata.role} file of a pair; the {role} file is needed here")
    aliasing = states_may_alias(model.graph, metadata.states)
    session, kernel = _load(model, path, options)
    own = any(node.domain == DOMAIN for node in model.graph.node)
    return GraphSession(
        path=path,
        session=session,
        metadata=metadata,
        inputs=tuple(tensor_spec(node, path) for node in session.get_inputs()),
        outputs=tuple(tensor_spec(node, path) for node in session.get_outputs()),
        native_kernel=kernel,
        in_place=aliasing and (kernel is not None or not own),
    )


def _metadata(model: onnx.ModelProto, path: Path) -> VideoMetadata:
    entries = {entry.key: entry.value for entry in model.metadata_props}
    if METADATA_KEY not in entries:
        raise UsageError(f"{path} has no metadata {METADATA_KEY}: it is no network for video")
    try:
        return parse_metadata(entries[METADATA_KEY])
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error


def _load(
    model: onnx.ModelProto, path: Path, options: SessionOptions
) -> tuple[onnxruntime.InferenceSession, str | None]:
    """The session, and the native kernel that runs every operator of edgeml's in it; `model` loses its bodies."""
    settings = session_settings(options)
    if not uses_own_operators(path):
        return create_session(str(path), settings, path), None
    try:
        kernel = _register(settings, path)
    except MissingError as error:
        return create_session(str(path), settings, path, remark=f" ({error})"), None
    if not _has_external_data(model):
        # Without their bodies, operators run by native kernels or not at all: onnxruntime does not say which it took.
        detach_functions(model)
        try:
            return create_session(model.SerializeToString(), settings, path), kernel
        except EdgeMLError:
            settings = session_settings(options)
            _register(settings, path)
    return create_session(str(path), settings, path), None


def _register(settings: onnxruntime.SessionOptions, path: Path) -> str:
    try:
        return register_plugin(settings, threads=settings.intra_op_num_threads).kernel
    except failures() as error:
        raise EdgeMLError(f"onnxruntime cannot load {path}: {reason(error)}") from error


def _has_external_data(model: onnx.ModelProto) -> bool:
    from onnx.external_data_helper import uses_external_data

    return any(uses_external_data(tensor) for tensor in model.graph.initializer)
