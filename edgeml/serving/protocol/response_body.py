"""Writes the body that answers POST .../infer."""

from __future__ import annotations

from typing import Any

import msgspec

from edgeml.runtime.feeds import dtype_name
from edgeml.serving.inference import InferenceRequest, InferenceResponse
from edgeml.serving.protocol import datatypes, tensor_json
from edgeml.serving.protocol.request_body import HEADER_LENGTH


def write_response(
    response: InferenceResponse, *, request: InferenceRequest
) -> tuple[list[bytes | memoryview], dict[str, str]]:
    """The answer as the request asked for it: all in JSON, or JSON followed by raw tensors.

    Returns:
        The body in parts, which are views of the outputs where these lie row-major, and the headers that go with it,
        names in lower case.
    """
    asked = {output.name: output.binary for output in request.outputs}
    outputs: list[dict[str, Any]] = []
    raw: list[bytes | memoryview] = []
    for name, tensor in response.outputs.items():
        described: dict[str, Any] = {
            "name": name,
            "datatype": datatypes.datatype_of(dtype_name(tensor.dtype) if tensor.dtype.kind not in "SU" else "str"),
            "shape": tensor.shape,
        }
        if asked.get(name, False) or request.binary_output:
            data = datatypes.to_raw(tensor)
            described["parameters"] = {"binary_data_size": len(data)}
            raw.append(data)
        else:
            described["data"] = tensor_json.to_json(tensor)
        outputs.append(described)
    told: dict[str, Any] = {"model_name": response.model, "model_version": response.version}
    if response.id:
        told["id"] = response.id
    told["outputs"] = outputs
    header = msgspec.json.encode(told)
    if not raw:
        return [header], {"content-type": "application/json", "content-length": str(len(header))}
    size = len(header) + sum(len(part) for part in raw)
    return [header, *raw], {
        "content-type": "application/octet-stream",
        HEADER_LENGTH: str(len(header)),
        "content-length": str(size),
    }
