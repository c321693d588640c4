"""The methods of GRPCInferenceService over an engine."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import unquote

import grpc
from google.protobuf import json_format
from google.protobuf.message import DecodeError

from edgeml.core.errors import EdgeMLError
from edgeml.runtime.inference_protocol.messages import PACKAGE, message_class, methods
from edgeml.serving.engine_protocol import Engine
from edgeml.serving.errors import FailedError, InvalidRequestError, RequestError
from edgeml.serving.grpc.tensors import read_request, write_answer
from edgeml.serving.http.authorization import Tokens
from edgeml.serving.logs import LOGGER
from edgeml.serving.protocol.description import index_json, model_json, server_json
from edgeml.serving.protocol.limits import Limits

SERVICE = "GRPCInferenceService"
# Requests of one stream that run at once; their answers keep the requests' order.
_AT_ONCE = 32

_log = logging.getLogger(LOGGER)
_Context = Any
_Answer = Callable[[Any, _Context], Awaitable[Any]]


class Service:
    """The protocol's methods, by name."""

    def __init__(
        self,
        engine: Engine,
        *,
        limits: Limits,
        tokens: Tokens,
        admit: Callable[[str], None],
        answered: Callable[[str], None],
    ) -> None:
        """Ready to answer.

        Args:
            engine: holds the models.
            limits: bounds on requests.
            tokens: who may use the server.
            admit: counts a request of a client; raises a RequestError where it is one too many.
            answered: told the status of each answer.
        """
        self._engine = engine
        self._limits = limits
        self._tokens = tokens
        self._admit = admit
        self._answered = answered

    def handler(self) -> grpc.GenericRpcHandler:
        """What gRPC asks for each method."""
        handlers = {}
        for name, (request_class, answer_class, streams) in methods(SERVICE).items():
            make = grpc.stream_stream_rpc_method_handler if streams else grpc.unary_unary_rpc_method_handler
            handlers[name] = make(
                self._stream if streams else self._guarded(getattr(self, _METHODS[name]), name, request_class),
                response_serializer=answer_class.SerializeToString,
            )
        return grpc.method_handlers_generic_handler(f"{PACKAGE}.{SERVICE}", handlers)

    async def live(self, request: Any, context: _Context) -> Any:  # noqa: ARG002 (gRPC's signature)
        """Whether the process answers."""
        return message_class("ServerLiveResponse")(live=True)

    async def ready(self, request: Any, context: _Context) -> Any:  # noqa: ARG002 (gRPC's signature)
        """Whether the server has loaded what it could."""
        return message_class("ServerReadyResponse")(ready=self._engine.is_ready())

    async def model_ready(self, request: Any, context: _Context) -> Any:  # noqa: ARG002 (gRPC's signature)
        """Whether a model is ready."""
        return message_class("ModelReadyResponse")(ready=self._engine.is_ready(request.name, request.version))

    async def server(self, request: Any, context: _Context) -> Any:  # noqa: ARG002 (gRPC's signature)
        """The server."""
        return message_class("ServerMetadataResponse")(**server_json())

    async def model(self, request: Any, context: _Context) -> Any:  # noqa: ARG002 (gRPC's signature)
        """A model's inputs and outputs."""
        return _from_json("ModelMetadataResponse", model_json(self._engine.metadata(request.name, request.version)))

    async def config(self, request: Any, context: _Context) -> Any:  # noqa: ARG002 (gRPC's signature)
        """A model's configuration."""
        return _from_json("ModelConfigResponse", {"config": self._engine.config(request.name, request.version)})

    async def statistics(self, request: Any, context: _Context) -> Any:  # noqa: ARG002 (gRPC's signature)
        """Counts and durations."""
        return _from_json("ModelStatisticsResponse", self._engine.statistics(request.name, request.version))

    async def index(self, request: Any, context: _Context) -> Any:  # noqa: ARG002 (gRPC's signature)
        """All models."""
        entries = self._engine.index(ready_only=request.ready)
        return _from_json("RepositoryIndexResponse", {"models": [index_json(entry) for entry in entries]})

    async def load(self, request: Any, context: _Context) -> Any:  # noqa: ARG002 (gRPC's signature)
        """Load a model, or load it again."""
        if request.parameters:
            raise InvalidRequestError(
                f"load was given {', '.join(request.parameters)!r:.80}; this server loads what lies in its repository, "
                "without overrides"
            )
        await self._engine.load(request.model_name)
        return message_class("RepositoryModelLoadResponse")()

    async def unload(self, request: Any, context: _Context) -> Any:  # noqa: ARG002 (gRPC's signature)
        """Serve a model no longer."""
        await self._engine.unload(request.model_name)
        return message_class("RepositoryModelUnloadResponse")()

    async def infer(self, request: Any, context: _Context) -> Any:
        """Run a model."""
        parsed = read_request(request, self._limits, context.time_remaining())
        response = await self._engine.infer(parsed)
        return write_answer(response, raw=parsed.binary_output)

    def _guarded(self, answer: _Answer, method: str, request_class: Any) -> _Answer:
        """The method with its caller let in first, its message read, and its errors told as gRPC's status."""

        async def guarded(data: bytes, context: _Context) -> Any:
            try:
                if method not in _OPEN:
                    self._admit(self._client(context))
                found = await answer(_parsed(request_class, data), context)
            except Exception as error:  # noqa: BLE001 (whatever fails, the client is answered)
                told = _told(error, method)
                self._answered(told.grpc_status)
                await context.abort(grpc.StatusCode[told.grpc_status], str(told))
            self._answered("OK")
            return found

        return guarded

    async def _stream(self, requests: AsyncIterator[bytes], context: _Context) -> AsyncIterator[Any]:
        """Run the requests of a stream, several at once; answers come in the requests' order, each when it is there."""
        try:
            client = self._client(context)
        except RequestError as error:
            self._answered(error.grpc_status)
            await context.abort(grpc.StatusCode[error.grpc_status], str(error))
        answers: asyncio.Queue[asyncio.Task[Any] | None] = asyncio.Queue(_AT_ONCE)

        async def read() -> None:
            try:
                async for data in requests:
                    await answers.put(asyncio.create_task(self._answer_of_stream(data, context, client)))
            except Exception:  # raised again where the reader is awaited, behind the answers that came before it
                await answers.put(None)
                raise
            await answers.put(None)

        reader = asyncio.create_task(read())
        try:
            while (answer := await answers.get()) is not None:
                yield await answer
            await reader  # a message that was too large, say
        finally:
            reader.cancel()
            while not answers.empty():
                if (task := answers.get_nowait()) is not None:
                    task.cancel()

    async def _answer_of_stream(self, data: bytes, context: _Context, client: str) -> Any:
        """An answer, or its error in a message, which leaves the stream open."""
        streamed = message_class("ModelStreamInferResponse")
        request = message_class("ModelInferRequest")()
        try:
            self._admit(client)
            request = _parsed(type(request), data)
            found = streamed(infer_response=await self.infer(request, context))
        except Exception as error:  # noqa: BLE001 (whatever fails, the client is answered)
            told = _told(error, "ModelStreamInfer")
            self._answered(told.grpc_status)
            failed = streamed(error_message=str(told))
            failed.infer_response.id = request.id  # so that the client knows which request it was
            return failed
        self._answered("OK")
        return found

    def _client(self, context: _Context) -> str:
        """Who calls, once it is known that they may: which token they have, else their address."""
        authorization = ""
        for name, value in context.invocation_metadata() or ():
            if name == "authorization":
                authorization = value if isinstance(value, str) else value.decode("latin-1")
        return self._tokens.check(authorization) or _address(str(context.peer()))


# Orchestrators ask these without a token, and they tell nothing.
_OPEN = frozenset({"ServerLive", "ServerReady"})
_METHODS = {
    "ServerLive": "live",
    "ServerReady": "ready",
    "ModelReady": "model_ready",
    "ServerMetadata": "server",
    "ModelMetadata": "model",
    "ModelInfer": "infer",
    "ModelConfig": "config",
    "ModelStatistics": "statistics",
    "RepositoryIndex": "index",
    "RepositoryModelLoad": "load",
    "RepositoryModelUnload": "unload",
}


def _parsed(request_class: Any, data: bytes) -> Any:
    try:
        return request_class.FromString(data)
    except DecodeError as error:
        raise InvalidRequestError(f"the message is not of the protocol's form: {error!s:.200}") from error


def _told(error: Exception, method: str) -> RequestError:
    """What the client is told of an error; those that are no fault of the client's are logged."""
    if isinstance(error, RequestError):
        told = error
    else:
        told = FailedError(str(error) if isinstance(error, EdgeMLError) else "the server failed; its log says why")
    if isinstance(told, FailedError):
        trace = None if isinstance(error, EdgeMLError) else error
        _log.error("failed", extra={"fields": {"path": method, "reason": str(error)}}, exc_info=trace)
    return told


def _address(peer: str) -> str:
    """The address in gRPC's name of a peer ("ipv4:127.0.0.1:4711", "ipv6:%5B::1%5D:4711"), as HTTP has it."""
    return unquote(peer).partition(":")[2].rpartition(":")[0].strip("[]")


def _from_json(name: str, value: dict[str, Any]) -> Any:
    return json_format.ParseDict(value, message_class(name)(), ignore_unknown_fields=True)
