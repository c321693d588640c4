"""HTTP: what tritonclient asks, unmodified, and what no well-behaved client does."""

from __future__ import annotations

import gzip
import json
import random
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import pytest

from edgeml.serving.engine.configuration import ModelConfiguration
from edgeml.serving.http.authorization import Tokens
from edgeml.serving.http.connections import HEAD_BYTES
from edgeml.serving.protocol.limits import Limits
from tests.serving.protocol_bodies import DTYPES
from tests.serving.servers import Doubler, Server, Wire, infer_body, request, running

client = pytest.importorskip("tritonclient.http")

# It closes what it has closed before, on whatever thread frees it.
pytestmark = pytest.mark.filterwarnings("ignore:Exception ignored in. .function InferenceServerClient.__del__")

INFER = "/v2/models/m/infer"
QUIET = ModelConfiguration(warm_up=False)


@pytest.fixture
def triton(server: Server) -> Iterator[Any]:
    with client.InferenceServerClient(server.http) as found:
        yield found


@pytest.fixture
def wire(server: Server) -> Iterator[Wire]:
    with Wire(server.port) as found:
        yield found


def tensor(values: Any, datatype: str = "FP32", *, name: str = "x", binary: bool = True) -> Any:
    values = np.asarray(values)
    found = client.InferInput(name, values.shape, datatype)
    found.set_data_from_numpy(values, binary_data=binary)
    return found


def wait_for(wire: Wire, metric: str) -> None:
    for _ in range(1000):
        if f"\n{metric}\n" in wire.ask("GET", "/metrics").body.decode():
            return
        time.sleep(0.01)
    raise AssertionError(f"{metric} did not come about")


ROWS = np.array([[1, 2, 3], [4, 5, 6]], np.float32)


@pytest.mark.parametrize("binary_out", [False, True])
@pytest.mark.parametrize("binary_in", [False, True])
@pytest.mark.parametrize("compression", [None, "gzip", "deflate"])
def test_tritonclient_infers(triton: Any, binary_in: bool, binary_out: bool, compression: str | None) -> None:
    result = triton.infer(
        "m",
        [tensor(ROWS, binary=binary_in)],
        outputs=[client.InferRequestedOutput("y", binary_data=binary_out)],
        request_id="7",
        request_compression_algorithm=compression,
        response_compression_algorithm=compression,
    )
    assert result.as_numpy("y").tolist() == (ROWS * 2).tolist()
    assert result.get_response()["id"] == "7"
    assert result.get_response()["model_version"] == "1"


@pytest.mark.parametrize(("datatype", "name"), DTYPES.items())
def test_every_type_comes_back_as_it_went(triton: Any, datatype: str, name: str) -> None:
    values = np.array([[0, 1], [1, 0]]).astype(name)
    for binary in [True] if datatype == "FP16" else [True, False]:  # tritonclient writes no FP16 as JSON
        output = client.InferRequestedOutput("y", binary_data=binary)
        found = triton.infer(name, [tensor(values, datatype, binary=binary)], outputs=[output]).as_numpy("y")
        assert found.dtype == values.dtype
        assert found.tolist() == values.tolist()


@pytest.mark.parametrize("binary", [False, True])
def test_text_comes_back_as_it_went(triton: Any, binary: bool) -> None:
    words = np.array([["one", ""], ["drei", "vier\u2603"]], dtype=object)
    output = client.InferRequestedOutput("y", binary_data=binary)
    found = triton.infer("str", [tensor(words, "BYTES", binary=binary)], outputs=[output]).as_numpy("y")
    as_text = [[word.decode() if isinstance(word, bytes) else word for word in row] for row in found]
    assert as_text == words.tolist()


def test_asynchronous_requests_are_answered(server: Server) -> None:
    with client.InferenceServerClient(server.http, concurrency=4) as triton:
        waiting = [triton.async_infer("m", [tensor(ROWS * k)]) for k in range(16)]
        for k, each in enumerate(waiting):
            assert each.get_result().as_numpy("y").tolist() == (ROWS * 2 * k).tolist()


def test_classification_gives_the_largest_with_their_labels(triton: Any) -> None:
    output = client.InferRequestedOutput("y", class_count=2)
    found = triton.infer("m", [tensor(ROWS)], outputs=[output]).as_numpy("y")
    assert found.tolist() == [[b"6.000000:2:hen", b"4.000000:1:dog"], [b"12.000000:2:hen", b"10.000000:1:dog"]]


@pytest.mark.parametrize("identity", [42, "a camera"])
def test_a_sequence_keeps_its_state_and_ends(server: Server, triton: Any, identity: int | str) -> None:
    ones = np.ones((1, 3), np.float32)
    sums = [
        triton.infer("sum", [tensor(ones)], sequence_id=identity, sequence_start=k == 0, sequence_end=k == 2)
        for k in range(3)
    ]
    assert [float(each.as_numpy("y")[0, 0]) for each in sums] == [1, 2, 3]
    assert identity not in server.models["sum"].sums
    with pytest.raises(client.InferenceServerException, match="not open"):
        triton.infer("sum", [tensor(ones)], sequence_id=identity)


def test_tritonclient_finds_out_about_server_and_models(triton: Any) -> None:
    assert triton.is_server_live()
    assert triton.is_server_ready()
    assert triton.is_model_ready("m")
    assert triton.is_model_ready("m", "1")
    assert not triton.is_model_ready("nothing")
    assert triton.get_server_metadata()["name"] == "edgeml"
    assert triton.get_model_metadata("m", "1")["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 3]}]
    assert triton.get_model_config("m")["max_batch_size"] == 32
    triton.infer("m", [tensor(ROWS)])
    (stats,) = triton.get_inference_statistics("m")["model_stats"]
    assert stats["inference_stats"]["success"]["count"] > 0
    assert {each["name"] for each in triton.get_inference_statistics()["model_stats"]} >= {"m", "sum"}
    assert {"name": "m", "version": "1", "state": "READY", "reason": ""} in triton.get_model_repository_index()


def test_tritonclient_unloads_and_loads() -> None:
    with running({"m": Doubler()}, {"m": QUIET}) as server, client.InferenceServerClient(server.http) as triton:
        triton.unload_model("m")
        assert not triton.is_model_ready("m")
        assert triton.get_model_repository_index()[0]["state"] == "UNAVAILABLE"
        with pytest.raises(client.InferenceServerException, match="not ready"):
            triton.infer("m", [tensor(ROWS)])
        triton.load_model("m")
        assert triton.infer("m", [tensor(ROWS)]).as_numpy("y").tolist() == (ROWS * 2).tolist()
        with pytest.raises(client.InferenceServerException, match="without overrides"):
            triton.load_model("m", config='{"max_batch_size": 1}')
        with pytest.raises(client.InferenceServerException, match="no model"):
            triton.load_model("nothing")


@pytest.mark.parametrize(
    ("path", "body", "headers", "status", "told"),
    [
        (INFER, b"{", {}, 400, "form"),
        (INFER, b"", {}, 400, "form"),
        (INFER, infer_body(), {"Inference_Header_Content_Length": "9999"}, 400, "9999"),
        (INFER, infer_body(), {"Content_Encoding": "br"}, 400, "'br'"),
        (INFER, b"not gzip", {"Content_Encoding": "gzip"}, 400, "gzip"),
        (INFER, gzip.compress(bytes(2 << 20)), {"Content_Encoding": "gzip"}, 413, "decompressed"),
        ("/v2/models/nothing/infer", infer_body(), {}, 404, "no model 'nothing'"),
        ("/v2/models/m/versions/9/infer", infer_body(), {}, 404, "no version '9'"),
        ("/v2/nowhere", infer_body(), {}, 404, "no page"),
        ("/v2/models/m", infer_body(), {}, 405, "GET"),
        ("/v2/models/failing/infer", infer_body(0), {}, 500, "had enough"),
        ("/v2/models/failing/infer", infer_body(1), {}, 500, "ZeroDivisionError"),
        ("/v2/repository/index", b"[]", {}, 400, "object"),
        ("/v2/repository/index", b'{"ready": 1}', {}, 400, "ready"),
    ],
)
def test_what_is_wrong_is_told_and_the_connection_goes_on(
    wire: Wire, path: str, body: bytes, headers: dict[str, str], status: int, told: str
) -> None:
    answer = wire.ask("POST", path, body, **headers)
    assert (answer.status, told in answer.error) == (status, True), answer.error
    assert list(answer.json) == ["error"]
    assert wire.ask("POST", INFER, infer_body()).status == 200


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_other_methods_are_not_answered(wire: Wire, method: str) -> None:
    for path, allowed in ((INFER, "POST"), ("/v2", "GET, HEAD")):
        answer = wire.ask(method, path)
        assert (answer.status, answer.headers["allow"]) == (405, allowed)


@pytest.mark.parametrize("line", ["OPTIONS *", "GET http://elsewhere.example/v2x"])
def test_this_is_no_proxy(wire: Wire, line: str) -> None:
    wire.send(f"{line} HTTP/1.1\r\nHost: a\r\n\r\n")
    assert wire.read().status == 404
    assert wire.ask("GET", "/v2").status == 200


def test_head_is_get_without_the_body(wire: Wire) -> None:
    full = wire.ask("GET", "/v2")
    head = wire.ask("HEAD", "/v2")
    assert (head.status, head.headers["content-length"]) == (200, str(len(full.body)))
    assert wire.ask("GET", "/v2").body == full.body


def test_a_single_tensor_needs_no_json(wire: Wire) -> None:
    answer = wire.ask("POST", INFER, ROWS.tobytes(), Inference_Header_Content_Length="0")
    length = int(answer.headers["inference-header-content-length"])
    assert np.frombuffer(answer.body[length:], np.float32).tolist() == (ROWS * 2).ravel().tolist()


def test_a_large_body_is_compressed_and_decompressed_too() -> None:
    values = np.random.default_rng(0).integers(0, 9, (40_000, 3)).astype(np.float32)
    body = gzip.compress(values.tobytes())
    configuration = ModelConfiguration(warm_up=False, max_batch_size=0)
    with running({"m": Doubler()}, {"m": configuration}, grpc_port=None) as server, Wire(server.port) as large:
        headers = {"Inference_Header_Content_Length": "0", "Content_Encoding": "gzip", "Accept_Encoding": "gzip"}
        answer = large.ask("POST", INFER, body, **headers)
    data = gzip.decompress(answer.body)[int(answer.headers["inference-header-content-length"]) :]
    assert np.array_equal(np.frombuffer(data, np.float32).reshape(-1, 3), values * 2)


def test_a_body_that_is_too_large_is_refused_before_it_is_read(wire: Wire) -> None:
    wire.send(request("POST", INFER, Content_Length=str(2 << 20)))
    answer = wire.read()  # though not a byte of the body was sent
    assert (answer.status, answer.headers["connection"]) == (413, "close")


def test_a_client_that_sends_a_body_that_is_too_large_can_read_why(server: Server) -> None:
    with Wire(server.port) as wire:
        wire.send(request("POST", INFER, bytes(16 << 20)))
        assert wire.read().status == 413
        assert wire.is_closed()
    with Wire(server.port) as wire:  # nothing tells how large this one will be
        wire.send(request("POST", INFER, Transfer_Encoding="chunked"))
        with_too_much = b"%x\r\n%b\r\n" % (2 << 20, bytes(2 << 20))
        wire.send(with_too_much)
        assert wire.read().status == 413


def test_a_chunked_body_is_read(wire: Wire) -> None:
    body = infer_body()
    wire.send(request("POST", INFER, Transfer_Encoding="chunked"))
    for start in range(0, len(body), 7):
        piece = body[start : start + 7]
        wire.send(b"%x;a=b\r\n%b\r\n" % (len(piece), piece))
    wire.send("0\r\nTrailer: yes\r\n\r\n")
    assert wire.read().status == 200
    assert wire.ask("GET", "/v2").status == 200


@pytest.mark.parametrize(
    ("framing", "told"),
    [
        (b"1\r\nx\r\n" * 60, "more than 50 chunks"),
        (b"1;" + b"e" * (16 * HEAD_BYTES) + b"\r\nx\r\n", "no data"),
        (b"0\r\n" + b"Trailer: yes\r\n" * HEAD_BYTES, "no data"),
        (b"0\r\nTrailer: " + b"y" * (16 * HEAD_BYTES), "no data"),
        (b"zz\r\n", "form"),
    ],
)
def test_the_framing_of_a_body_is_bounded(framing: bytes, told: str) -> None:
    with running({"m": Doubler()}, {"m": QUIET}, grpc_port=None, limits=Limits(chunks=50)) as server:
        with Wire(server.port) as wire:
            wire.send(request("POST", INFER, Transfer_Encoding="chunked"))
            wire.send(framing)
            answer = wire.read()
            assert (answer.status, told in answer.error) == (400, True), answer.error
            assert wire.is_closed()
        with Wire(server.port) as wire:
            assert wire.ask("POST", INFER, infer_body()).status == 200


def test_a_head_is_bounded(server: Server) -> None:
    for head in (b"GET /" + b"a" * HEAD_BYTES * 2, b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * HEAD_BYTES):
        with Wire(server.port) as wire:
            wire.send(head)
            assert wire.read().status == 431


@pytest.mark.parametrize(
    "head",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nA b: c\r\n\r\n",
        b"CONNECT localhost:1 HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused(server: Server, head: bytes) -> None:
    with Wire(server.port) as wire:
        wire.send(head)
        assert wire.read().status == 400
        assert wire.is_closed()


def test_heads_of_random_bytes_end_no_server(server: Server) -> None:
    generator = random.Random(0)
    source = request("POST", INFER, infer_body(), Accept_Encoding="gzip", Transfer_Encoding="x")
    for _ in range(200):
        data = bytearray(source)
        for _ in range(generator.randint(1, 6)):
            data[generator.randrange(len(data))] = generator.randrange(256)
        with Wire(server.port) as wire:
            wire.send(bytes(data) + b"\r\n\r\n")
            wire.socket.shutdown(1)
            with suppress(ConnectionError, IndexError):
                assert wire.read().status < 500
    with Wire(server.port) as wire:
        assert wire.ask("POST", INFER, infer_body()).status == 200


def test_a_client_may_wait_to_be_told_to_go_on(wire: Wire) -> None:
    body = infer_body()
    wire.send(request("POST", INFER, Expect="100-continue", Content_Length=str(len(body))))
    assert wire.read().status == 100
    wire.send(body)
    assert wire.read().status == 200


def test_a_client_that_waits_is_told_at_once_that_it_sends_too_much(wire: Wire) -> None:
    wire.send(request("POST", INFER, Expect="100-continue", Content_Length=str(2 << 20)))
    assert wire.read().status == 413
    assert wire.is_closed()


def test_requests_sent_ahead_are_answered_in_order(wire: Wire) -> None:
    wire.send(b"".join(request("POST", INFER, infer_body(value)) for value in range(50)))
    assert [wire.read().json["outputs"][0]["data"][0] for _ in range(50)] == [2 * value for value in range(50)]


def test_an_upgrade_that_is_not_done_leaves_the_request_whole(wire: Wire) -> None:
    upgrade = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2_Settings": "AAEAAEAAAAIAAAAB"}
    assert wire.ask("POST", INFER, infer_body(), **upgrade).status == 200
    assert wire.ask("POST", INFER, infer_body()).status == 200


def test_http_1_0_is_answered(wire: Wire) -> None:
    wire.send("GET /v2 HTTP/1.0\r\n\r\n")
    assert wire.read().json["name"] == "edgeml"
    assert wire.is_closed()


@pytest.fixture(scope="module")
def impatient() -> Iterator[Server]:
    with running({"m": Doubler()}, {"m": QUIET}, grpc_port=None, limits=Limits(read_s=0.3)) as found:
        yield found


def test_a_client_that_never_speaks_is_left(impatient: Server) -> None:
    with Wire(impatient.port) as wire:
        assert wire.is_closed()


@pytest.mark.parametrize("sent", [b"GET / HT", request("POST", INFER, b"{", Content_Length="9")])
def test_a_client_that_stops_in_the_middle_is_told_so(impatient: Server, sent: bytes) -> None:
    with Wire(impatient.port) as wire:
        assert wire.ask("GET", "/v2").status == 200
        wire.send(sent)
        assert wire.read().status == 408
        assert wire.is_closed()


@pytest.mark.parametrize("head", [b"GET / HTTP/1.1\r\nA: ", request("POST", INFER, Content_Length="999")])
def test_a_client_that_drips_is_told_to_stop(impatient: Server, head: bytes) -> None:
    with Wire(impatient.port) as wire:
        wire.send(head)
        wire.socket.settimeout(0.05)
        for _ in range(200):
            wire.send(b"x")
            with suppress(TimeoutError):
                assert b" 408 " in wire.socket.recv(1000)
                return
    raise AssertionError("it went on for ever")


def test_a_client_is_not_blamed_for_a_slow_model(impatient: Server) -> None:
    model = impatient.models["m"]
    with Wire(impatient.port) as wire:
        model.gate.clear()
        body = infer_body()
        second = request("POST", INFER, body)
        wire.send(request("POST", INFER, body) + second[:-5])  # its end comes when the first is answered
        time.sleep(0.5)
        model.gate.set()
        assert wire.read().status == 200
        wire.send(second[-5:])
        assert wire.read().status == 200


def test_clients_that_leave_leave_nothing_behind() -> None:
    model = Doubler()
    with running({"m": model}, {"m": QUIET}, grpc_port=None) as server, Wire(server.port) as wire:
        model.gate.clear()
        wires = [Wire(server.port) for _ in range(8)]
        for each in wires[:4]:
            each.send(request("POST", INFER, infer_body()))
        for each in wires[4:]:
            each.send(request("POST", INFER, infer_body())[:-5])
        assert model.entered.wait(10)
        for each in wires:
            each.__exit__()
        wait_for(wire, 'edgeml_requests_total{protocol="http",status="left"} 8.0')
        model.gate.set()
        assert wire.ask("POST", INFER, infer_body()).status == 200


def test_what_clients_that_left_asked_for_is_not_run() -> None:
    model = Doubler()
    with running({"m": model}, {"m": QUIET}, grpc_port=None) as server, Wire(server.port) as wire:
        model.gate.clear()
        wires = [Wire(server.port) for _ in range(5)]
        wires[0].send(request("POST", INFER, infer_body()))
        assert model.entered.wait(10)
        for each in wires[1:]:
            each.send(request("POST", INFER, infer_body()) * 2)
        for count in ("4.0", "0.0"):
            wait_for(wire, f'edgeml_waiting_requests{{model="m",version="1"}} {count}')
            for each in wires[1:]:
                each.__exit__()
        model.gate.set()
        assert wires[0].read().status == 200
        wires[0].__exit__()
    assert model.runs == 1


def test_a_full_queue_is_told_with_when_to_come_back() -> None:
    model = Doubler()
    with running({"m": model}, {"m": QUIET}, grpc_port=None, limits=Limits(queue=1)) as server:
        model.gate.clear()
        with Wire(server.port) as first, Wire(server.port) as second, Wire(server.port) as third:
            first.send(request("POST", INFER, infer_body()))
            assert model.entered.wait(10)
            second.send(request("POST", INFER, infer_body()))
            wait_for(third, 'edgeml_waiting_requests{model="m",version="1"} 1.0')
            answer = third.ask("POST", INFER, infer_body())
            assert (answer.status, answer.headers["retry-after"]) == (503, "1")
            model.gate.set()
            assert (first.read().status, second.read().status) == (200, 200)


def test_a_deadline_is_kept() -> None:
    model = Doubler()
    with running({"m": model}, {"m": QUIET}, grpc_port=None) as server, Wire(server.port) as wire:
        model.gate.clear()
        body = json.loads(infer_body()) | {"parameters": {"timeout": 50_000}}
        answer = wire.ask("POST", INFER, json.dumps(body).encode())
        model.gate.set()
        assert (answer.status, "deadline" in answer.error) == (503, True)


def test_a_token_is_asked_for() -> None:
    token = "0123456789abcdef"
    tokens = Tokens((token, "another of these"))
    with running({"m": Doubler()}, {"m": QUIET}, tokens=tokens, grpc_port=None) as server, Wire(server.port) as wire:
        for path in ("/", "/metrics", "/v2", "/openapi.json", "/v2/models/m"):
            assert wire.ask("GET", path).status == 401
        assert wire.ask("GET", "/v2/health/live").status == 200
        assert wire.ask("GET", "/v2/health/ready").status == 200
        for given in ("", "Bearer", "Bearer x", f"Basic {token}", f"Bearer {token}x", "Bearer \xe9"):
            answer = wire.ask("POST", INFER, infer_body(), Authorization=given)
            assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert wire.ask("POST", INFER, infer_body(), Authorization=f"Bearer {token}").status == 200
        assert wire.ask("GET", "/v2", Authorization=f"bearer {token}").status == 200


def test_a_client_that_asks_too_often_is_told_so_whatever_it_calls_itself() -> None:
    slow = {"requests_per_second": 2.0, "grpc_port": None}
    with running({"m": Doubler()}, {"m": QUIET}, **slow) as server, Wire(server.port) as wire:
        answers = [
            wire.ask("GET", "/v2/x", Authorization=f"Bearer {k}", X_Forwarded_For=f"10.0.0.{k}") for k in range(5)
        ]
        assert [each.status for each in answers[:2]] == [404, 404]
        assert answers[-1].status == 429
        assert answers[-1].headers["retry-after"] == "1"
        assert wire.ask("GET", "/v2/health/live").status == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Sec_Fetch_Site": "same-site"}, 403),
        ({"Sec_Fetch_Site": "same-origin", "Origin": "https://proxy.example"}, 200),
        ({"Sec_Fetch_Site": "none"}, 200),
        ({"Origin": "https://elsewhere.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost"}, 200),
    ],
)
def test_pages_of_other_sites_change_nothing(wire: Wire, headers: dict[str, str], status: int) -> None:
    assert wire.ask("POST", "/v2/repository/index", b"", **headers).status == status
    assert wire.ask("GET", "/v2", b"", **headers).status == 200


def test_many_clients_at_once_each_get_their_own_answer(server: Server) -> None:
    wrong = []

    def ask(value: int) -> None:
        with Wire(server.port) as wire:
            for _ in range(20):
                data = wire.ask("POST", INFER, infer_body(value)).json["outputs"][0]["data"]
                if data != [2 * value] * 3:
                    wrong.append((value, data))

    threads = [threading.Thread(target=ask, args=(value,)) for value in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
