"""Requests and answers as the protocol's protobuf messages."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from edgeml.runtime.inference_protocol.messages import message_class
from edgeml.serving.errors import InvalidRequestError, TooLargeError
from edgeml.serving.inference import InferenceRequest, InferenceResponse, Tensor
from edgeml.serving.protocol import datatypes
from edgeml.serving.protocol.limits import Limits
from edgeml.serving.protocol.parameters import Parameters, count, deadline, flag, sequence
from edgeml.serving.protocol.requested_outputs import requested_outputs

# Where each datatype's elements are in a message whose tensors are not raw; FP16 and BF16 have no place.
_CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


def read_request(message: Any, limits: Limits, remaining_s: float | None) -> InferenceRequest:
    """The request in a ModelInferRequest.

    Args:
        message: it.
        limits: bounds; the message's own size was held to them by gRPC.
        remaining_s: seconds until the call's deadline; None without one.

    Raises:
        InvalidRequestError: the message is not of the protocol's form.
        TooLargeError: it exceeds a limit.
    """
    parameters = _parameters(message.parameters)
    until = deadline(parameters)
    if remaining_s is not None:
        at = time.monotonic() + remaining_s
        until = at if until is None else min(until, at)
    return InferenceRequest(
        model=message.model_name,
        version=message.model_version,
        id=message.id,
        inputs=_inputs(message, limits),
        outputs=requested_outputs([(each.name, _parameters(each.parameters)) for each in message.outputs], limits),
        binary_output=bool(message.raw_input_contents) or flag(parameters, "binary_data_output"),
        sequence=sequence(parameters),
        priority=count(parameters, "priority"),
        deadline=until,
        parameters=parameters,
    )


def write_answer(response: InferenceResponse, *, raw: bool) -> Any:
    """The ModelInferResponse of an answer.

    Args:
        response: the answer.
        raw: whether tensors go as raw bytes, as the request's came; those without another place go so in any case, and
            then all do, as the protocol has it.
    """
    described = [
        (name, datatypes.datatype_of("str" if tensor.dtype.kind in "SU" else tensor.dtype.name), tensor)
        for name, tensor in response.outputs.items()
    ]
    raw = raw or any(datatype not in _CONTENTS for _, datatype, _ in described)
    message = message_class("ModelInferResponse")(
        model_name=response.model, model_version=response.version, id=response.id
    )
    for name, datatype, tensor in described:
        output = message.outputs.add(name=name, datatype=datatype, shape=tensor.shape)
        if raw:
            message.raw_output_contents.append(bytes(datatypes.to_raw(tensor)))
        else:
            elements = tensor.ravel().tolist()
            if datatype == "BYTES":
                elements = [datatypes.as_bytes(element) for element in elements]
            getattr(output.contents, _CONTENTS[datatype]).extend(elements)
    return message


def _inputs(message: Any, limits: Limits) -> dict[str, Tensor]:
    tensors, raw = message.inputs, message.raw_input_contents
    if not 0 < len(tensors) <= limits.inputs:
        raise InvalidRequestError(f"the request has {len(tensors)} inputs; it must have 1 to {limits.inputs}")
    if raw and len(raw) != len(tensors):
        raise InvalidRequestError(
            f"the request has {len(tensors)} inputs and {len(raw)} raw_input_contents; give one for each, or none"
        )
    found: dict[str, Tensor] = {}
    for index, each in enumerate(tensors):
        name = each.name
        if name in found:
            raise InvalidRequestError(f"the input {name!r:.80} is given twice")
        datatype = datatypes.check_datatype(name, each.datatype)
        if "shared_memory_region" in each.parameters:
            raise InvalidRequestError(f"input {name!r:.80} is in shared memory, which this server does not take")
        shape = list(each.shape)
        if raw:
            if each.HasField("contents"):
                raise InvalidRequestError(f"input {name!r:.80} has both contents and raw_input_contents; give one")
            found[name] = datatypes.from_raw(name, datatype, shape, memoryview(raw[index]), limits)
        else:
            found[name] = _from_contents(name, datatype, shape, each.contents, limits)
    return found


def _from_contents(name: str, datatype: str, shape: list[int], contents: Any, limits: Limits) -> Tensor:
    if datatype not in _CONTENTS:
        raise InvalidRequestError(f"input {name!r:.80} is {datatype}, which goes as raw_input_contents only")
    expected = datatypes.element_count(name, shape, limits)
    elements = getattr(contents, _CONTENTS[datatype])
    if len(elements) > limits.json_elements:
        raise TooLargeError(
            f"input {name!r:.80} has more than {limits.json_elements} elements in contents; send raw_input_contents"
        )
    if len(elements) != expected:
        raise InvalidRequestError(
            f"input {name!r:.80} of shape {shape} has {expected} elements; {len(elements)} were sent in "
            f"{_CONTENTS[datatype]}"
        )
    if datatype == "BYTES":
        found = np.empty(len(elements), dtype=object)
        found[:] = list(elements)
        return found.reshape(shape)
    dtype = datatypes.numpy_dtype(datatype)
    if dtype.kind in "iu" and elements:
        bounds = np.iinfo(dtype)
        if min(elements) < bounds.min or max(elements) > bounds.max:
            raise InvalidRequestError(
                f"input {name!r:.80} of datatype {datatype} has elements outside {bounds.min} to {bounds.max}"
            )
    return np.array(elements, dtype=dtype).reshape(shape)


def _parameters(parameters: Any) -> Parameters:
    found: Parameters = {}
    for name, value in parameters.items():
        choice = value.WhichOneof("parameter_choice")
        if choice is not None:
            found[name] = getattr(value, choice)
    return found
