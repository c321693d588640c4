"""Servers in this process, on free ports, whose models are Python functions; and a connection to try their manners."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeml.core.tensor_spec import TensorSpec
from edgeml.serving.engine import model as engine_model
from edgeml.serving.engine.configuration import ModelConfiguration, ModelSource
from edgeml.serving.engine.executable import Tensors
from edgeml.serving.errors import FailedError
from edgeml.serving.inference import Sequence
from edgeml.serving.server import ServerSettings, serve

TIMEOUT_S = 30.0


class Doubler:
    """y is twice x, float32 (batch, 3); `gate`, where it is cleared, holds every run back."""

    platform = "onnx_onnxv1"
    stateful = False

    def __init__(self) -> None:
        self.inputs: tuple[TensorSpec, ...] = (TensorSpec("x", ("batch", 3), "float32"),)
        self.outputs: tuple[TensorSpec, ...] = (TensorSpec("y", ("batch", 3), "float32"),)
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.runs = 0

    def run(self, inputs: Tensors, sequence: Sequence | None, instance: int) -> Tensors:
        self.entered.set()
        self.gate.wait(TIMEOUT_S)
        self.runs += 1
        return {"y": inputs["x"] * 2}

    def end(self, sequence: Sequence) -> None:
        pass

    def close(self) -> None:
        pass


class Echo(Doubler):
    """y is x, of any type."""

    def __init__(self, dtype: str) -> None:
        super().__init__()
        self.inputs = (TensorSpec("x", ("batch", "n"), dtype),)
        self.outputs = (TensorSpec("y", ("batch", "n"), dtype),)

    def run(self, inputs: Tensors, sequence: Sequence | None, instance: int) -> Tensors:
        return {"y": inputs["x"]}


class Running(Doubler):
    """y is the sum of x since the sequence began."""

    stateful = True

    def __init__(self) -> None:
        super().__init__()
        self.inputs = (TensorSpec("x", (1, 3), "float32"),)
        self.outputs = (TensorSpec("y", (1, 3), "float32"),)
        self.sums: dict[object, Any] = {}

    def run(self, inputs: Tensors, sequence: Sequence | None, instance: int) -> Tensors:
        assert sequence is not None
        self.sums[sequence.id] = inputs["x"] + (0 if sequence.start else self.sums[sequence.id])
        return {"y": self.sums[sequence.id]}

    def end(self, sequence: Sequence) -> None:
        del self.sums[sequence.id]


class Failing(Doubler):
    """Fails, by an error of ours for x[0, 0] = 0 and by any other elsewhere."""

    def run(self, inputs: Tensors, sequence: Sequence | None, instance: int) -> Tensors:
        if not inputs["x"][0, 0]:
            raise FailedError("the model has had enough")
        raise ZeroDivisionError("of its own")


@dataclass(frozen=True)
class Server:
    """A server that is running.

    Attributes:
        port: of HTTP.
        grpc_port: of gRPC.
        models: what runs.
        stop: ends it, and waits until it has ended.
    """

    port: int
    grpc_port: int
    models: Mapping[str, Any]
    stopping: Any
    thread: threading.Thread

    @property
    def http(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def grpc(self) -> str:
        return f"127.0.0.1:{self.grpc_port}"

    def stop(self) -> None:
        self.stopping()

    def join(self) -> None:
        self.thread.join(TIMEOUT_S)
        assert not self.thread.is_alive()


class _Models:
    """A repository of executables; a name without one is a model that cannot be loaded."""

    named = False

    def __init__(self, models: Mapping[str, Any], configurations: Mapping[str, ModelConfiguration]) -> None:
        self._sources = [
            ModelSource(
                name=name,
                versions={"1": Path(name)},
                configuration=configurations.get(name, ModelConfiguration(warm_up=False)),
            )
            for name in models
        ]

    def scan(self) -> list[ModelSource]:
        return self._sources

    def find(self, model: str) -> ModelSource | None:
        return next((source for source in self._sources if source.name == model), None)


@contextmanager
def running(
    models: Mapping[str, Any], configurations: Mapping[str, ModelConfiguration] | None = None, **settings: Any
) -> Iterator[Server]:
    """A server of these executables; the rest as for ServerSettings."""
    found: dict[str, Any] = {}
    started = threading.Event()

    async def run() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()

        def listening(port: int, grpc_port: int | None) -> None:
            found.update(ports=(port, grpc_port), stop=lambda: loop.call_soon_threadsafe(stop.set))
            started.set()

        try:
            await serve(
                _Models(models, configurations or {}),
                ServerSettings(**{"port": 0, "grpc_port": 0} | settings),
                listening,
                stop,
            )
        except BaseException as error:  # noqa: BLE001 (raised where the server is used)
            found["error"] = error
        finally:
            started.set()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine_model, "open_executable", lambda path, instances, threads: models[path.name])
        thread = threading.Thread(target=lambda: asyncio.run(run()), daemon=True)
        thread.start()
        assert started.wait(TIMEOUT_S)
        if "error" in found:
            raise found["error"]
        server = Server(found["ports"][0], found["ports"][1], models, found["stop"], thread)
        _wait_until_ready(server)
        try:
            yield server
        finally:
            if thread.is_alive():
                server.stop()
            server.join()
            if "error" in found:
                raise found["error"]


def _wait_until_ready(server: Server) -> None:
    for _ in range(1000):
        try:
            with Wire(server.port) as wire:
                if wire.ask("GET", "/v2/health/ready").status == 200:
                    return
        except OSError:  # TLS: its tests wait for themselves
            return
        time.sleep(0.01)
    raise AssertionError("the models did not become ready")


@dataclass(frozen=True)
class Answer:
    """What came back: status, headers (names in lower case), body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        error: str = self.json["error"]
        return error


class Wire:
    """A connection that is written to byte by byte, which HTTP clients do not let one do."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)
        self._file = self.socket.makefile("rb")

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self.socket.close()

    def send(self, data: bytes | str) -> None:
        self.socket.sendall(data.encode() if isinstance(data, str) else data)

    def read(self, *, head: bool = False) -> Answer:
        """The next answer."""
        line = self._file.readline()
        if not line:
            raise ConnectionError("the server closed the connection")
        status = int(line.split()[1])
        headers = {}
        while (line := self._file.readline().strip()) != b"":
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        length = 0 if head or status < 200 else int(headers["content-length"])
        return Answer(status, headers, self._file.read(length))

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        """Send a request and read its answer."""
        self.send(request(method, path, body, **headers))
        return self.read(head=method == "HEAD")

    def is_closed(self) -> bool:
        """Whether the server ends the connection, without another byte."""
        try:
            return self._file.read(1) == b""
        except ConnectionError:
            return True


def request(method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
    """A request's bytes; the names of headers with _ for -."""
    told = {"Host": "localhost"} | {name.replace("_", "-"): value for name, value in headers.items()}
    if body:
        told.setdefault("Content-Length", str(len(body)))
    head = "".join(f"{name}: {value}\r\n" for name, value in told.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body


def infer_body(value: float = 1, rows: int = 1) -> bytes:
    """A request for Doubler in JSON."""
    tensor = np.full((rows, 3), value).tolist()
    return json.dumps({"inputs": [{"name": "x", "shape": [rows, 3], "datatype": "FP32", "data": tensor}]}).encode()
