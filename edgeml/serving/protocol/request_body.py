"""Reads the body of POST .../infer: JSON, JSON followed by raw tensors, or one raw tensor alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from edgeml.core.tensor_spec import TensorSpec
from edgeml.serving.engine_protocol import ModelMetadata
from edgeml.serving.errors import InvalidRequestError, TooLargeError
from edgeml.serving.inference import InferenceRequest, Tensor
from edgeml.serving.protocol import datatypes, tensor_json
from edgeml.serving.protocol.limits import Limits
from edgeml.serving.protocol.parameters import Parameters, count, deadline, flag, sequence
from edgeml.serving.protocol.requested_outputs import requested_outputs

HEADER_LENGTH = "inference-header-content-length"
"""The header that tells how much of a body is JSON, where raw tensors follow it; its name in lower case."""


class _Input(msgspec.Struct):
    name: str
    shape: list[int]
    datatype: str
    parameters: Parameters = {}
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Output(msgspec.Struct):
    name: str
    parameters: Parameters = {}


class _Request(msgspec.Struct):
    """Members that it does not name are passed over, as the protocol has it."""

    inputs: list[_Input]
    id: str = ""
    outputs: list[_Output] = []
    parameters: Parameters = {}


_DECODER = msgspec.json.Decoder(_Request)


def parse_request(
    body: bytes | bytearray,
    *,
    model: str,
    version: str,
    headers: Mapping[str, str],
    limits: Limits,
    metadata: ModelMetadata,
) -> InferenceRequest:
    """The request in a body, which is decompressed already.

    Args:
        body: tensors of the request are views of it, so it must not be changed afterwards.
        model: name in the path.
        version: in the path, "" without.
        headers: names in lower case.
        limits: bounds; the body's own size was held to them while it came in.
        metadata: the model's, whose one input a body without JSON is for.

    Raises:
        InvalidRequestError: the body is not of the protocol's form.
        TooLargeError: it exceeds a limit.
    """
    stated = headers.get(HEADER_LENGTH)
    if stated is None:
        return _from_json(body, memoryview(b""), model=model, version=version, limits=limits)
    length = _header_length(stated, len(body))
    view = memoryview(body)
    if length == 0:
        return _raw(view, model=model, version=version, limits=limits, metadata=metadata)
    return _from_json(view[:length], view[length:], model=model, version=version, limits=limits)


def _header_length(stated: str, size: int) -> int:
    if not (stated.isascii() and stated.isdigit() and len(stated) <= 12) or int(stated) > size:
        raise InvalidRequestError(
            f"Inference-Header-Content-Length is {stated!r:.40}; it must be from 0 to {size}, the body's size in bytes"
        )
    return int(stated)


def _from_json(
    header: bytes | bytearray | memoryview, raw: memoryview, *, model: str, version: str, limits: Limits
) -> InferenceRequest:
    if len(header) > limits.header_bytes:
        raise TooLargeError(
            f"the JSON of the request has {len(header)} bytes; at most {limits.header_bytes} are allowed: send tensors "
            "as binary data"
        )
    try:
        request = _DECODER.decode(header)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequestError(f"the request is not of the protocol's form: {error}") from error
    parameters: Parameters = dict(request.parameters)
    return InferenceRequest(
        model=model,
        version=version,
        id=request.id,
        inputs=_inputs(request.inputs, raw, limits),
        outputs=requested_outputs([(each.name, dict(each.parameters)) for each in request.outputs], limits),
        binary_output=flag(parameters, "binary_data_output"),
        sequence=sequence(parameters),
        priority=count(parameters, "priority"),
        deadline=deadline(parameters),
        parameters=parameters,
    )


def _inputs(inputs: Sequence[_Input], raw: memoryview, limits: Limits) -> dict[str, Tensor]:
    if not 0 < len(inputs) <= limits.inputs:
        raise InvalidRequestError(f"the request has {len(inputs)} inputs; it must have 1 to {limits.inputs}")
    found: dict[str, Tensor] = {}
    position = elements = 0
    for each in inputs:
        name = each.name
        if name in found:
            raise InvalidRequestError(f"the input {name!r:.80} is given twice")
        datatype = datatypes.check_datatype(name, each.datatype)
        parameters: Parameters = each.parameters
        if "shared_memory_region" in parameters:
            raise InvalidRequestError(f"input {name!r:.80} is in shared memory, which this server does not take")
        if "binary_data_size" in parameters:
            if each.data is not msgspec.UNSET:
                raise InvalidRequestError(f"input {name!r:.80} has both data and binary_data_size; give one")
            size = count(dict(parameters), "binary_data_size")
            if size > len(raw) - position:
                raise InvalidRequestError(
                    f"input {name!r:.80} has a binary_data_size of {size}; {len(raw) - position} bytes are left of the "
                    "body"
                )
            found[name] = datatypes.from_raw(name, datatype, each.shape, raw[position : position + size], limits)
            position += size
        elif each.data is msgspec.UNSET:
            raise InvalidRequestError(f"input {name!r:.80} has no data; give data, or binary_data_size and raw bytes")
        else:
            found[name] = tensor_json.from_json(name, datatype, each.shape, each.data, limits)
            elements += found[name].size
            if elements > limits.json_elements:
                raise TooLargeError(
                    f"the request has more than {limits.json_elements} elements in JSON; send tensors as binary data"
                )
    if position != len(raw):
        raise InvalidRequestError(f"{len(raw) - position} bytes of raw data belong to no input")
    return found


def _raw(data: memoryview, *, model: str, version: str, limits: Limits, metadata: ModelMetadata) -> InferenceRequest:
    """A body that is one tensor: for the model's one input, at most one axis of which is dynamic."""
    if len(metadata.inputs) != 1:
        raise InvalidRequestError(
            f"a body without JSON is for models with one input; {model} has {len(metadata.inputs)}: "
            f"{', '.join(spec.name for spec in metadata.inputs)}"
        )
    (spec,) = metadata.inputs
    datatype = datatypes.datatype_of(spec.dtype)
    shape = _raw_shape(spec, datatype, len(data))
    tensor = datatypes.from_raw(spec.name, datatype, shape, data, limits)
    return InferenceRequest(model=model, version=version, inputs={spec.name: tensor}, binary_output=True)


def _raw_shape(spec: TensorSpec, datatype: str, size: int) -> tuple[int, ...]:
    dynamic = [axis for axis in spec.shape if isinstance(axis, str)]
    if len(dynamic) > 1:
        raise InvalidRequestError(
            f"input {spec.name} has {len(dynamic)} dynamic axes, so a body without JSON does not tell its shape"
        )
    if datatype == "BYTES":  # sizes of elements are not known, so the body is one of them
        return tuple(1 if isinstance(axis, str) else axis for axis in spec.shape)
    rest = datatypes.numpy_dtype(datatype).itemsize
    for axis in spec.shape:
        rest *= 1 if isinstance(axis, str) else axis
    free = size // rest if rest else 0
    return tuple(free if isinstance(axis, str) else axis for axis in spec.shape)
