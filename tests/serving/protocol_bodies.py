"""Bodies for the protocol's tests: well-formed ones by tritonclient's own encoder, and damaged ones."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeml.core.tensor_spec import TensorSpec
from edgeml.serving.engine_protocol import ModelMetadata

METADATA = ModelMetadata(
    name="m", versions=("1",), platform="onnx_onnxv1", inputs=(TensorSpec("x", ("n", 3), "float32"),), outputs=()
)
DTYPES = {
    "BOOL": "bool",
    "UINT8": "uint8",
    "UINT16": "uint16",
    "UINT32": "uint32",
    "UINT64": "uint64",
    "INT8": "int8",
    "INT16": "int16",
    "INT32": "int32",
    "INT64": "int64",
    "FP16": "float16",
    "FP32": "float32",
    "FP64": "float64",
}


def encoded(
    tensors: dict[str, tuple[str, npt.NDArray[Any]]], *, binary: bool = True, **options: Any
) -> tuple[bytes, dict[str, str]]:
    """Body and headers that tritonclient makes of tensors with their datatypes."""
    import tritonclient.http as client

    inputs = []
    for name, (datatype, tensor) in tensors.items():
        each = client.InferInput(name, tensor.shape, datatype)
        each.set_data_from_numpy(tensor, binary_data=binary)
        inputs.append(each)
    body, length = client.InferenceServerClient.generate_request_body(inputs, **options)
    headers = {} if length is None else {"inference-header-content-length": str(length)}
    return body, headers


def damaged(body: bytes, headers: dict[str, str], generator: random.Random) -> tuple[bytes, dict[str, str]]:
    """The body with a few bytes changed, cut, repeated or put in, or its header's length changed."""
    data, headers = bytearray(body), dict(headers)
    for _ in range(generator.randint(1, 4)):
        place = generator.randrange(len(data) + 1)
        match generator.randrange(6):
            case 0 if data:
                data[place % len(data)] = generator.randrange(256)
            case 1:
                del data[place : place + generator.randrange(1, 9)]
            case 2:
                data[place:place] = generator.randbytes(generator.randrange(1, 9))
            case 3:
                data[place:place] = data[place : place + 32]
            case 4:
                word = generator.choice(
                    [b"[", b"]", b"{", b'"', b"-1", b"9" * 25, b"null", b"1e999", b"\\ud800", b"BYTES"]
                )
                data[place : place + len(word)] = word
            case 5:
                length = generator.choice([0, 1, len(data), len(data) + 1, generator.randrange(len(data) + 1)])
                headers["inference-header-content-length"] = generator.choice([str(length), "-1", "x", "1e3", ""])
    return bytes(data), headers


def some_bodies() -> list[tuple[bytes, dict[str, str]]]:
    """A well-formed body of each kind."""
    generator = np.random.default_rng(0)
    found = []
    for datatype, name in DTYPES.items():
        tensor = generator.integers(0, 2, (2, 3)).astype(name)
        found.append(encoded({"x": (datatype, tensor), "y": (datatype, tensor[:1])}))
        if datatype != "FP16":  # tritonclient does not write it as JSON
            found.append(encoded({"x": (datatype, tensor)}, binary=False, request_id="7", sequence_id=3, priority=1))
    words = np.array([b"one", b"", b"\xff\x00"], dtype=object)
    found.append(encoded({"x": ("BYTES", words)}))
    found.append((b'{"inputs":[{"name":"x","shape":[2,2],"datatype":"FP32","data":[[1,2],[3,4]]}]}', {}))
    found.append((bytes(24), {"inference-header-content-length": "0"}))
    return found
