"""gRPC: what tritonclient asks, unmodified, and what goes wrong."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from edgeml.runtime.inference_protocol.messages import message_class
from edgeml.serving.engine.configuration import ModelConfiguration
from edgeml.serving.http.authorization import Tokens
from tests.serving.protocol_bodies import DTYPES
from tests.serving.servers import Doubler, Server, running

client = pytest.importorskip("tritonclient.grpc")
grpc = pytest.importorskip("grpc")

QUIET = ModelConfiguration(warm_up=False)
ROWS = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
METHOD = "/inference.GRPCInferenceService/"


@pytest.fixture
def triton(server: Server) -> Iterator[Any]:
    with client.InferenceServerClient(server.grpc) as found:
        yield found


@pytest.fixture
def channel(server: Server) -> Iterator[Any]:
    with grpc.insecure_channel(server.grpc) as found:
        yield found


def tensor(values: Any, datatype: str = "FP32", name: str = "x") -> Any:
    values = np.asarray(values)
    found = client.InferInput(name, values.shape, datatype)
    found.set_data_from_numpy(values)
    return found


def call(channel: Any, method: str, message: Any, answer: str, **options: Any) -> Any:
    stub = channel.unary_unary(
        METHOD + method,
        request_serializer=lambda each: each if isinstance(each, bytes) else each.SerializeToString(),
        response_deserializer=message_class(answer).FromString,
    )
    return stub(message, timeout=30, **options)


def infer_message(model: str = "m", **contents: Any) -> Any:
    message = message_class("ModelInferRequest")(model_name=model)
    each = message.inputs.add(name="x", datatype="FP32", shape=[1, 3])
    each.contents.fp32_contents.extend(contents.get("data", [1, 2, 3]))
    return message


@pytest.mark.parametrize("compression", [None, "gzip", "deflate"])
def test_tritonclient_infers(triton: Any, compression: str | None) -> None:
    result = triton.infer("m", [tensor(ROWS)], request_id="7", compression_algorithm=compression)
    assert result.as_numpy("y").tolist() == (ROWS * 2).tolist()
    assert (result.get_response().id, result.get_response().model_version) == ("7", "1")


@pytest.mark.parametrize(("datatype", "name"), DTYPES.items())
def test_every_type_comes_back_as_it_went(triton: Any, datatype: str, name: str) -> None:
    values = np.array([[0, 1], [1, 0]]).astype(name)
    found = triton.infer(name, [tensor(values, datatype)]).as_numpy("y")
    assert (found.dtype, found.tolist()) == (values.dtype, values.tolist())


def test_text_comes_back_as_it_went(triton: Any) -> None:
    words = np.array([["one", ""], ["drei", "vier\u2603"]], dtype=object)
    found = triton.infer("str", [tensor(words, "BYTES")]).as_numpy("y")
    assert [[word.decode() for word in row] for row in found] == words.tolist()


def test_typed_contents_are_answered_in_kind(channel: Any) -> None:
    answer = call(channel, "ModelInfer", infer_message(), "ModelInferResponse")
    assert list(answer.outputs[0].contents.fp32_contents) == [2, 4, 6]
    assert not answer.raw_output_contents


def test_asynchronous_requests_are_answered(triton: Any) -> None:
    answers: queue.Queue[Any] = queue.Queue()
    for k in range(16):
        triton.async_infer(
            "m", [tensor(ROWS * k)], lambda result, error: answers.put((result, error)), request_id=f"{k}"
        )
    for _ in range(16):
        result, error = answers.get(timeout=30)
        assert error is None
        assert result.as_numpy("y").tolist() == (ROWS * 2 * int(result.get_response().id)).tolist()


def test_a_stream_answers_in_order_and_survives_errors(triton: Any) -> None:
    answers: queue.Queue[Any] = queue.Queue()
    triton.start_stream(lambda result, error: answers.put((result, error)))
    for k in range(64):
        triton.async_stream_infer("nothing" if k == 7 else "m", [tensor(ROWS * k)], request_id=f"{k}")
    for k in range(64):
        result, error = answers.get(timeout=30)
        if k == 7:
            assert "no model 'nothing'" in str(error)
        else:
            assert result.get_response().id == f"{k}"
            assert result.as_numpy("y").tolist() == (ROWS * 2 * k).tolist()
    triton.stop_stream()


@pytest.mark.parametrize("identity", [42, "a camera"])
def test_a_sequence_over_a_stream_keeps_its_state(server: Server, triton: Any, identity: int | str) -> None:
    answers: queue.Queue[Any] = queue.Queue()
    triton.start_stream(lambda result, error: answers.put((result, error)))
    ones = np.ones((1, 3), np.float32)
    for k in range(10):
        triton.async_stream_infer(
            "sum", [tensor(ones)], sequence_id=identity, sequence_start=k == 0, sequence_end=k == 9
        )
    sums = [float(answers.get(timeout=30)[0].as_numpy("y")[0, 0]) for _ in range(10)]
    triton.stop_stream()
    assert sums == list(range(1, 11))
    assert server.models["sum"].sums == {}


def test_a_stream_that_is_cut_off_frees_what_it_asked_for(server: Server) -> None:
    model = server.models["m"]
    model.gate.clear()
    model.entered.clear()
    with client.InferenceServerClient(server.grpc) as triton:
        triton.start_stream(lambda result, error: None)
        for k in range(50):
            triton.async_stream_infer("m", [tensor(ROWS)], request_id=f"{k}")
        assert model.entered.wait(10)
        triton.stop_stream(cancel_requests=True)
    model.gate.set()
    with client.InferenceServerClient(server.grpc) as triton:
        assert triton.infer("m", [tensor(ROWS)]).as_numpy("y").tolist() == (ROWS * 2).tolist()


def test_classification_gives_the_largest_with_their_labels(triton: Any) -> None:
    output = client.InferRequestedOutput("y", class_count=2)
    found = triton.infer("m", [tensor(ROWS)], outputs=[output]).as_numpy("y")
    assert found.tolist() == [[b"6.000000:2:hen", b"4.000000:1:dog"], [b"12.000000:2:hen", b"10.000000:1:dog"]]


def test_tritonclient_finds_out_about_server_and_models(triton: Any) -> None:
    assert triton.is_server_live()
    assert triton.is_server_ready()
    assert triton.is_model_ready("m", "1")
    assert not triton.is_model_ready("nothing")
    assert triton.get_server_metadata().name == "edgeml"
    metadata = triton.get_model_metadata("m")
    assert [(each.name, each.datatype, list(each.shape)) for each in metadata.inputs] == [("x", "FP32", [-1, 3])]
    config = triton.get_model_config("m", as_json=True)["config"]
    assert (config["max_batch_size"], config["input"][0]["data_type"]) == (32, "TYPE_FP32")
    triton.infer("m", [tensor(ROWS)])
    (stats,) = triton.get_inference_statistics("m").model_stats
    assert stats.inference_stats.success.count > 0
    assert stats.batch_stats[0].compute_infer.count > 0
    assert {each.name for each in triton.get_model_repository_index().models} >= {"m", "sum"}


def test_tritonclient_unloads_and_loads() -> None:
    with running({"m": Doubler()}, {"m": QUIET}) as server, client.InferenceServerClient(server.grpc) as triton:
        triton.unload_model("m")
        assert not triton.is_model_ready("m")
        with pytest.raises(client.InferenceServerException, match="not ready"):
            triton.infer("m", [tensor(ROWS)])
        triton.load_model("m")
        assert triton.infer("m", [tensor(ROWS)]).as_numpy("y").tolist() == (ROWS * 2).tolist()
        with pytest.raises(client.InferenceServerException, match="without overrides"):
            triton.load_model("m", config='{"max_batch_size": 1}')


@pytest.mark.parametrize(
    ("message", "code", "told"),
    [
        (infer_message("nothing"), "NOT_FOUND", "no model 'nothing'"),
        (infer_message(data=[1]), "INVALID_ARGUMENT", "3 elements"),
        (message_class("ModelInferRequest")(model_name="m"), "INVALID_ARGUMENT", "0 inputs"),
        (infer_message("failing", data=[0, 0, 0]), "INTERNAL", "had enough"),
        (infer_message("failing"), "INTERNAL", "ZeroDivisionError"),
        (infer_message(data=[1] * (1 << 19)), "RESOURCE_EXHAUSTED", "1048576"),
        (b"\xff" * 20, "INVALID_ARGUMENT", "form"),
    ],
)
def test_what_is_wrong_is_told(channel: Any, message: Any, code: str, told: str) -> None:
    with pytest.raises(grpc.RpcError) as found:
        call(channel, "ModelInfer", message, "ModelInferResponse")
    assert (found.value.code().name, told in found.value.details()) == (code, True), found.value.details()


def test_a_request_that_grows_when_decompressed_is_refused(channel: Any) -> None:
    message = message_class("ModelInferRequest")(model_name="m")
    message.inputs.add(name="x", datatype="FP32", shape=[1 << 20, 3])
    message.raw_input_contents.append(bytes(12 << 20))
    with pytest.raises(grpc.RpcError) as found:
        call(channel, "ModelInfer", message, "ModelInferResponse", compression=grpc.Compression.Gzip)
    assert found.value.code().name == "RESOURCE_EXHAUSTED"


def stream(channel: Any, *messages: bytes) -> list[Any]:
    """What a stream of these messages, which the client leaves open, is answered."""
    more = threading.Event()

    def sent() -> Iterator[bytes]:
        yield from messages
        more.wait(30)

    stub = channel.stream_stream(
        METHOD + "ModelStreamInfer",
        request_serializer=lambda each: each,
        response_deserializer=message_class("ModelStreamInferResponse").FromString,
    )
    answers = stub(sent(), timeout=20)
    try:
        return [next(answers) for _ in messages]
    finally:
        more.set()
        answers.cancel()


def test_a_message_of_a_stream_that_cannot_be_read_is_told(channel: Any) -> None:
    good = infer_message().SerializeToString()
    first, bad, last = stream(channel, good, b"\xff" * 20, good)
    assert (first.error_message, last.error_message) == ("", "")
    assert "form" in bad.error_message


def test_a_message_of_a_stream_that_is_too_large_ends_it(channel: Any) -> None:
    with pytest.raises(grpc.RpcError) as found:
        stream(channel, infer_message().SerializeToString(), bytes(2 << 20))
    assert found.value.code().name == "RESOURCE_EXHAUSTED"


def test_an_unknown_method_is_told(channel: Any) -> None:
    with pytest.raises(grpc.RpcError) as found:
        call(channel, "TraceSetting", b"", "ServerLiveResponse")
    assert found.value.code().name == "UNIMPLEMENTED"


def test_a_deadline_is_kept(server: Server, triton: Any) -> None:
    model = server.models["m"]
    model.gate.clear()
    try:
        with pytest.raises(client.InferenceServerException, match=r"(?i)deadline"):
            triton.infer("m", [tensor(ROWS)], client_timeout=0.2)
        with pytest.raises(client.InferenceServerException, match="deadline"):
            triton.infer("m", [tensor(ROWS)], timeout=50_000)
    finally:
        model.gate.set()


def test_a_token_is_asked_for_once_per_stream_too() -> None:
    token = "0123456789abcdef"
    with (
        running({"m": Doubler()}, {"m": QUIET}, tokens=Tokens((token,))) as server,
        client.InferenceServerClient(server.grpc) as triton,
    ):
        assert triton.is_server_live()
        for headers in (None, {"authorization": "Bearer wrong"}, {"authorization": token}):
            with pytest.raises(client.InferenceServerException, match="token"):
                triton.infer("m", [tensor(ROWS)], headers=headers)
        right = {"authorization": f"Bearer {token}"}
        assert triton.infer("m", [tensor(ROWS)], headers=right).as_numpy("y").shape == (2, 3)
        answers: queue.Queue[Any] = queue.Queue()
        triton.start_stream(lambda result, error: answers.put(error))
        assert "token" in str(answers.get(timeout=30))
        triton.stop_stream()
        triton.start_stream(lambda result, error: answers.put(error), headers=right)
        triton.async_stream_infer("m", [tensor(ROWS)])
        assert answers.get(timeout=30) is None
        triton.stop_stream()


def test_a_client_that_asks_too_often_is_told_so() -> None:
    with (
        running({"m": Doubler()}, {"m": QUIET}, requests_per_second=2.0) as server,
        client.InferenceServerClient(server.grpc) as triton,
    ):
        asked = (triton.get_server_metadata(headers={"authorization": f"Bearer {k}"}) for k in range(5))
        with pytest.raises(client.InferenceServerException, match="2 requests a second"):
            list(asked)
        assert triton.is_server_live()


def test_two_servers_cannot_share_a_port(server: Server) -> None:
    from edgeml.core.errors import EdgeMLError

    second = running({"m": Doubler()}, {"m": QUIET}, grpc_port=server.grpc_port)
    with pytest.raises(EdgeMLError, match=f"port {server.grpc_port} for gRPC"):
        second.__enter__()
