"""What benchmarks/serving.py sends, and how: one connection that waits for each answer, or many at once.

The clients do as little as can be done in Python: the bytes of a request are made once, and of an answer only the
status and the length are read. So the time they measure is the server's, the sockets' and the model's.
"""

import base64
import json
import re
import selectors
import socket
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)\r\n", re.IGNORECASE)
_PIECE = 1 << 18
_TIMEOUT_S = 60.0
# Answers before the clock starts, so that every connection is open and every batch size has been run.
_WARM_UP_S = 0.5

Image = npt.NDArray[np.float32]


def protocol_request(model: str, name: str, image: Image) -> bytes:
    """A request of the Open Inference Protocol over HTTP, tensors in binary both ways."""
    described = {
        "name": name,
        "shape": image.shape,
        "datatype": "FP32",
        "parameters": {"binary_data_size": image.nbytes},
    }
    header = json.dumps({"inputs": [described], "parameters": {"binary_data_output": True}}).encode()
    return http_request(
        f"/v2/models/{model}/infer", header + image.tobytes(), f"Inference-Header-Content-Length: {len(header)}\r\n"
    )


def raw_request(path: str, image: Image) -> bytes:
    """A request whose body is the tensor."""
    return http_request(path, image.tobytes())


def base64_request(path: str, image: Image) -> bytes:
    """A request for a server that takes JSON only."""
    body = json.dumps({"image": base64.b64encode(image.tobytes()).decode()}).encode()
    return http_request(path, body, "Content-Type: application/json\r\n")


def http_request(path: str, body: bytes, headers: str = "") -> bytes:
    """A POST request as it goes over the wire."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


class Connection:
    """One connection that is kept open."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), _TIMEOUT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def call(self, request: bytes) -> bytes:
        """The body that answers a request.

        Raises:
            RuntimeError: the status is not 200, or the server closed the connection.
        """
        self._socket.sendall(request)
        answer = b""
        while (end := answer_end(answer)) is None or len(answer) < end:
            piece = self._socket.recv(_PIECE)
            if not piece:
                raise RuntimeError(f"the server closed the connection after {answer[:200]!r}")
            answer += piece
        return answer[answer.index(b"\r\n\r\n") + 4 :]

    def close(self) -> None:
        """Close it."""
        self._socket.close()


def answer_end(answer: bytes) -> int | None:
    """Where an answer ends, by its head; None while the head is not complete.

    Raises:
        RuntimeError: the status is not 200.
    """
    head = answer.find(b"\r\n\r\n")
    if head < 0:
        return None
    length = _LENGTH.search(answer, 0, head + 2)
    if not answer.startswith(b"HTTP/1.1 200") or length is None:
        raise RuntimeError(f"the server answered {answer[:500]!r}")
    return head + 4 + int(length[1])


@dataclass
class Load:
    """What a closed loop of clients saw.

    Attributes:
        seconds: that it lasted.
        latency_ms: of each request.
    """

    seconds: float
    latency_ms: list[float]

    @property
    def per_second(self) -> float:
        """Requests answered in a second."""
        return len(self.latency_ms) / self.seconds


@dataclass
class _Client:
    socket: socket.socket
    sent: int = 0
    began: float = 0.0
    answer: bytes = b""
    latency_ms: list[float] = field(default_factory=list)


def closed_loop(port: int, request: bytes, clients: int, seconds: float) -> Load:
    """So many clients, each of which sends its next request when the last is answered; one thread serves them all.

    Raises:
        RuntimeError: an answer's status is not 200, or none comes.
    """
    ready = selectors.DefaultSelector()
    view = memoryview(request)
    everyone = [_Client(socket.create_connection(("127.0.0.1", port), _TIMEOUT_S)) for _ in range(clients)]
    try:
        for client in everyone:
            client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client.socket.setblocking(False)
            ready.register(client.socket, selectors.EVENT_READ, client)
            _send(ready, client, view)
        _serve(ready, view, time.perf_counter() + _WARM_UP_S)
        for client in everyone:
            client.latency_ms.clear()
        began = time.perf_counter()
        _serve(ready, view, began + seconds)
        elapsed = time.perf_counter() - began
    finally:
        for client in everyone:
            client.socket.close()
        ready.close()
    return Load(elapsed, [latency for client in everyone for latency in client.latency_ms])


def _serve(ready: selectors.BaseSelector, request: memoryview, until: float) -> None:
    while time.perf_counter() < until:
        events = ready.select(_TIMEOUT_S)
        if not events:
            raise RuntimeError(f"no answer for {_TIMEOUT_S:g} s")
        for key, event in events:
            client: _Client = key.data
            if event & selectors.EVENT_WRITE:
                _go_on(ready, client, request)
            elif _receive(client):
                _send(ready, client, request)


def _receive(client: _Client) -> bool:
    """Take what came; whether the answer is complete."""
    piece = client.socket.recv(_PIECE)
    if not piece:
        raise RuntimeError(f"the server closed the connection after {client.answer[:200]!r}")
    client.answer += piece
    end = answer_end(client.answer)
    if end is None or len(client.answer) < end:
        return False
    client.latency_ms.append((time.perf_counter() - client.began) * 1e3)
    client.answer = b""
    return True


def _send(ready: selectors.BaseSelector, client: _Client, request: memoryview) -> None:
    client.began, client.sent = time.perf_counter(), 0
    _go_on(ready, client, request)


def _go_on(ready: selectors.BaseSelector, client: _Client, request: memoryview) -> None:
    """Send as much as goes; wait for room for the rest, then for the answer."""
    with suppress(BlockingIOError):
        client.sent += client.socket.send(request[client.sent :])
    wanted = selectors.EVENT_WRITE if client.sent < len(request) else selectors.EVENT_READ
    if ready.get_key(client.socket).events != wanted:
        ready.modify(client.socket, wanted, client)


class GrpcCall:
    """ModelInfer with the message made once, over one channel."""

    def __init__(self, port: int, model: str, name: str, image: Image) -> None:
        import grpc

        from edgeml.runtime.inference_protocol.messages import message_class

        message = message_class("ModelInferRequest")(model_name=model, raw_input_contents=[image.tobytes()])
        message.inputs.add(name=name, datatype="FP32", shape=image.shape)
        self._request = message.SerializeToString()
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        self._call = self._channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")

    def call(self) -> bytes:
        """The answering message."""
        answer: bytes = self._call(self._request, timeout=_TIMEOUT_S)
        return answer

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()


class TritonCall:
    """tritonclient as its users call it: the request is made anew each time, the answer read as an array."""

    def __init__(self, port: int, model: str, name: str, image: Image, *, grpc: bool) -> None:
        if grpc:
            import tritonclient.grpc as package
        else:
            import tritonclient.http as package
        self._package: Any = package
        self._client = package.InferenceServerClient(f"127.0.0.1:{port}")
        self._model, self._name, self._image = model, name, image

    def call(self) -> Any:
        """The first output."""
        tensor = self._package.InferInput(self._name, self._image.shape, "FP32")
        tensor.set_data_from_numpy(self._image)
        answer = self._client.infer(self._model, [tensor])
        described = answer.get_response()
        outputs = described["outputs"] if isinstance(described, dict) else described.outputs
        first = outputs[0]
        return answer.as_numpy(first["name"] if isinstance(first, dict) else first.name)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()
