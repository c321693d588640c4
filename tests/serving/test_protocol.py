"""Bodies of requests and answers, against tritonclient's own encoder and decoder."""

from __future__ import annotations

import json
import time
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgeml.core.tensor_spec import TensorSpec
from edgeml.serving.engine_protocol import ModelMetadata
from edgeml.serving.errors import InvalidRequestError, RequestError, TooLargeError
from edgeml.serving.inference import InferenceRequest, InferenceResponse
from edgeml.serving.protocol.classification import classify
from edgeml.serving.protocol.compression import accepted_encoding, compress, decompress
from edgeml.serving.protocol.datatypes import datatype_of, from_raw, to_raw
from edgeml.serving.protocol.limits import Limits
from edgeml.serving.protocol.request_body import parse_request
from edgeml.serving.protocol.response_body import write_response
from tests.serving.fuzz_framing import fuzz
from tests.serving.protocol_bodies import DTYPES, METADATA, encoded

client: Any = pytest.importorskip("tritonclient.http")


def parse(body: bytes, headers: dict[str, str] | None = None, limits: Limits | None = None) -> InferenceRequest:
    return parse_request(
        body, model="m", version="", headers=headers or {}, limits=limits or Limits(), metadata=METADATA
    )


def asked(**changes: Any) -> bytes:
    """A JSON request with one input, changed."""
    tensor = {"name": "x", "shape": [2], "datatype": "FP32", "data": [1, 2]} | changes
    return json.dumps({"inputs": [{key: value for key, value in tensor.items() if value is not None}]}).encode()


@given(st.data(), st.sampled_from(sorted(DTYPES)), st.booleans())
@settings(max_examples=150, deadline=None)
def test_what_tritonclient_sends_is_read_as_it_was(data: st.DataObject, datatype: str, binary: bool) -> None:
    shape = data.draw(arrays.array_shapes(min_dims=1, max_dims=4, max_side=4))
    finite = {"allow_nan": False, "allow_infinity": False} if datatype.startswith("FP") else {}
    tensor = data.draw(arrays.arrays(DTYPES[datatype], shape, elements=finite or None))
    binary = binary or datatype == "FP16"  # tritonclient writes no FP16 as JSON
    found = parse(*encoded({"x": (datatype, tensor)}, binary=binary, request_id="7")).inputs["x"]
    assert found.dtype == tensor.dtype
    np.testing.assert_array_equal(found, tensor)


@given(st.sampled_from(sorted(DTYPES)), st.booleans(), st.data())
@settings(max_examples=150, deadline=None)
def test_what_we_answer_is_read_by_tritonclient_as_it_was(datatype: str, binary: bool, data: st.DataObject) -> None:
    shape = data.draw(arrays.array_shapes(min_dims=1, max_dims=3, max_side=4))
    tensor = data.draw(arrays.arrays(DTYPES[datatype], shape))
    if not binary and datatype.startswith("FP"):
        tensor = np.nan_to_num(tensor, nan=0, posinf=1, neginf=-1)
    request = InferenceRequest(model="m", inputs={}, binary_output=binary)
    response = InferenceResponse(model="m", version="1", id="7", outputs={"y": tensor})
    parts, headers = write_response(response, request=request)
    body = b"".join(parts)
    assert int(headers["content-length"]) == len(body)
    length = headers.get("inference-header-content-length")
    found = client.InferenceServerClient.parse_response_body(
        body, header_length=None if length is None else int(length)
    )
    assert found.get_response()["id"] == "7"
    np.testing.assert_array_equal(found.as_numpy("y"), tensor)


@pytest.mark.parametrize("binary", [True, False])
def test_text_and_bytes_go_both_ways(binary: bool) -> None:
    words = np.array([["one", ""], ["zwölf", "a\tb"]], dtype=object)
    request = parse(*encoded({"x": ("BYTES", words)}, binary=binary))
    assert request.inputs["x"].tolist() == [[b"one", b""], ["zwölf".encode(), b"a\tb"]]
    response = InferenceResponse(model="m", version="1", id="", outputs={"y": request.inputs["x"]})
    asks = InferenceRequest(model="m", inputs={}, binary_output=binary)
    parts, headers = write_response(response, request=asks)
    length = headers.get("inference-header-content-length")
    found = client.InferenceServerClient.parse_response_body(
        b"".join(parts), header_length=None if length is None else int(length)
    ).as_numpy("y")
    assert [bytes(each) if isinstance(each, bytes) else each.encode() for each in found.ravel()] == [
        b"one", b"", "zwölf".encode(), b"a\tb",
    ]  # fmt: skip


def test_bfloat16_is_read_and_written_raw() -> None:
    import ml_dtypes

    tensor = np.array([1.5, -2.0, np.inf], dtype=ml_dtypes.bfloat16)
    raw = bytes(to_raw(tensor))
    found = from_raw("x", "BF16", [3], memoryview(raw), Limits())
    np.testing.assert_array_equal(found.astype(np.float32), tensor.astype(np.float32))
    assert datatype_of("bfloat16") == "BF16"


def test_raw_tensors_are_views_of_the_body_and_cannot_be_written() -> None:
    body, headers = encoded({"x": ("FP32", np.zeros((4, 3), np.float32))})
    tensor = parse(body, headers).inputs["x"]
    assert not tensor.flags.owndata
    assert not tensor.flags.writeable


def test_parameters_become_fields() -> None:
    body = json.dumps(
        {
            "id": "a",
            "inputs": [{"name": "x", "shape": [1], "datatype": "INT8", "data": [1]}],
            "outputs": [{"name": "y", "parameters": {"classification": 3, "binary_data": True}}],
            "parameters": {
                "sequence_id": 5, "sequence_start": True, "priority": 2, "timeout": 2_000_000, "mine": "kept",
            },
        }
    ).encode()  # fmt: skip
    before = time.monotonic()
    request = parse(body)
    assert request.id == "a"
    (output,) = request.outputs
    assert (output.name, output.classification, output.binary) == ("y", 3, True)
    assert request.sequence is not None
    assert (request.sequence.id, request.sequence.start, request.sequence.end) == (5, True, False)
    assert request.priority == 2
    assert request.deadline is not None
    assert 1.9 < request.deadline - before < 3
    assert request.parameters == {"mine": "kept"}


def test_a_body_that_is_one_tensor() -> None:
    tensor = np.arange(6, dtype=np.float32).reshape(2, 3)
    request = parse(tensor.tobytes(), {"inference-header-content-length": "0"})
    np.testing.assert_array_equal(request.inputs["x"], tensor)
    assert request.binary_output
    with pytest.raises(InvalidRequestError, match="takes 12 bytes; 13 were sent"):
        parse(bytes(13), {"inference-header-content-length": "0"})


def test_a_body_that_is_one_tensor_needs_a_model_with_one_input() -> None:
    two = ModelMetadata(
        name="m",
        versions=("1",),
        platform="onnx_onnxv1",
        inputs=(TensorSpec("a", (1,), "float32"), TensorSpec("b", (1,), "float32")),
        outputs=(),
    )
    with pytest.raises(InvalidRequestError, match="m has 2: a, b"):
        parse_request(
            b"1234",
            model="m",
            version="",
            headers={"inference-header-content-length": "0"},
            limits=Limits(),
            metadata=two,
        )


REFUSED = {
    "no JSON": (b"{", "not of the protocol's form"),
    "no inputs": (b'{"inputs":[]}', "has 0 inputs"),
    "deep nesting": (b'{"inputs":' + b"[" * 100_000, "not of the protocol's form"),
    "deep nesting in a member that is passed over": (b'{"inputs":[],"more":' + b"[" * 100_000, "not of the protocol's"),
    "a name twice": (
        b'{"inputs":[' + 2 * b'{"name":"x","shape":[1],"datatype":"INT8","data":[1]},' + b"]}",
        "not of the protocol's form",
    ),
    "two inputs of a name": (
        b'{"inputs":[' + b",".join(2 * [b'{"name":"x","shape":[1],"datatype":"INT8","data":[1]}']) + b"]}",
        "'x' is given twice",
    ),
    "an unknown datatype": (asked(datatype="FP8"), "datatype 'FP8'; allowed: BOOL"),
    "a negative axis": (asked(shape=[-1]), "no axis may be negative"),
    "too many axes": (asked(shape=[1] * 17), "17 axes; at most 16"),
    "a huge shape": (asked(shape=[1 << 40, 1 << 40]), "elements in JSON"),
    "too few elements": (asked(shape=[3]), "has 3 elements; 2 were sent"),
    "ragged data": (asked(shape=[2, 2], data=[[1, 2], [3]]), "axis 1 of its data has 1 elements"),
    "deeper data than the shape": (asked(data=[[1], [2]]), "cannot be read"),
    "a number out of range": (asked(datatype="UINT8", data=[1, 256]), "outside 0 to 255"),
    "a fraction in whole numbers": (asked(datatype="INT32", data=[1, 1.5]), "cannot be read"),
    "no data": (asked(data=None), "has no data"),
    "data twice": (asked(parameters={"binary_data_size": 0}), "both data and binary_data_size"),
    "more raw data than sent": (asked(data=None, parameters={"binary_data_size": 9}), "0 bytes are left"),
    "shared memory": (asked(parameters={"shared_memory_region": "r"}), "shared memory"),
    "a sequence without its number": (
        b'{"inputs":[{"name":"x","shape":[1],"datatype":"INT8","data":[1]}],"parameters":{"sequence_start":true}}',
        "without a sequence_id",
    ),
}


@pytest.mark.parametrize(("body", "told"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_of_the_protocols_form_is_refused_in_one_line(body: bytes, told: str) -> None:
    with pytest.raises(RequestError, match="\\A[^\n]*" + told.replace("(", r"\(")) as caught:
        parse(body)
    assert caught.value.status in {400, 413}


def test_raw_data_left_over_is_refused() -> None:
    body, headers = encoded({"x": ("FP32", np.zeros(2, np.float32))})
    with pytest.raises(InvalidRequestError, match="4 bytes of raw data belong to no input"):
        parse(body + bytes(4), headers)


@pytest.mark.parametrize("length", ["-1", "x", "", "1e2", "99999", "९"])
def test_a_header_length_that_is_none_is_refused(length: str) -> None:
    with pytest.raises(InvalidRequestError, match="Inference-Header-Content-Length"):
        parse(asked(), {"inference-header-content-length": length})


def test_the_limits_hold() -> None:
    with pytest.raises(TooLargeError, match="more than 8 elements in JSON"):
        parse(asked(shape=[9], data=[0] * 9), limits=Limits(json_elements=8))
    with pytest.raises(TooLargeError, match="at most 10 are allowed"):
        parse(asked(), limits=Limits(header_bytes=10))
    four = (
        b'{"inputs":['
        + b",".join(b'{"name":"%d","shape":[],"datatype":"INT8","data":[1]}' % i for i in range(4))
        + b"]}"
    )
    with pytest.raises(InvalidRequestError, match="4 inputs; it must have 1 to 3"):
        parse(four, limits=Limits(inputs=3))
    assert parse(four, limits=Limits(inputs=4)).inputs["0"].shape == ()


def test_bytes_that_claim_more_elements_than_they_hold_cost_nothing() -> None:
    with pytest.raises(InvalidRequestError, match="take at least"):
        from_raw("x", "BYTES", [1 << 50], memoryview(bytes(8)), Limits())
    with pytest.raises(InvalidRequestError, match="beyond the end"):
        from_raw("x", "BYTES", [1], memoryview(b"\xff\xff\xff\x7f"), Limits())


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_compression_both_ways(encoding: str) -> None:
    body = bytes(range(256)) * 100
    packed = compress([body[:1000], memoryview(body)[1000:]], encoding)
    assert len(packed) < len(body)
    assert decompress(packed, encoding, len(body)) == body
    assert zlib.decompress(packed, 47) == body
    with pytest.raises(TooLargeError, match="grows beyond"):
        decompress(packed, encoding, len(body) - 1)
    with pytest.raises(InvalidRequestError, match="breaks off"):
        decompress(packed[:-4], encoding, len(body))
    with pytest.raises(InvalidRequestError, match="follow"):
        decompress(packed + b"more", encoding, len(body))


def test_bare_deflate_is_taken_too() -> None:
    compressor = zlib.compressobj(wbits=-15)
    assert decompress(compressor.compress(b"text") + compressor.flush(), "deflate", 10) == b"text"


def test_a_bomb_is_stopped_at_the_limit() -> None:
    with pytest.raises(TooLargeError):
        decompress(compress([bytes(1 << 26)], "gzip"), "gzip", 1 << 20)


@pytest.mark.parametrize(
    ("header", "chosen"),
    [
        ("", None),
        ("gzip", "gzip"),
        ("deflate, gzip", "gzip"),
        ("deflate;q=1.0, gzip;q=0.5", "deflate"),
        ("gzip;q=0", None),
        ("identity", None),
        ("*", "gzip"),
        ("br, *;q=0.1, gzip;q=0", "deflate"),
        ("gzip;q=x", None),
    ],
)
def test_the_encoding_of_an_answer(header: str, chosen: str | None) -> None:
    assert accepted_encoding(header) == chosen


def test_classification() -> None:
    scores = np.array([[0.1, 0.7, 0.2], [0.5, 0.5, np.nan]], dtype=np.float32)
    found = classify("y", scores, 2, ("cat", "dog"), batched=True)
    assert found.tolist() == [[b"0.700000:1:dog", b"0.200000:2"], [b"0.500000:0:cat", b"0.500000:1:dog"]]
    assert classify("y", scores[0], 9, (), batched=False).tolist() == [b"0.700000:1", b"0.200000:2", b"0.100000:0"]
    with pytest.raises(InvalidRequestError, match="not of numbers"):
        classify("y", np.array([b"a"], dtype=object), 1, (), batched=False)


def test_damaged_bodies_are_read_or_refused_and_cost_no_memory() -> None:
    outcome = fuzz(4_000)
    assert outcome["200"] > 0
    assert outcome["400"] > 1_000
    assert outcome["memory_growth"] < 0.05
