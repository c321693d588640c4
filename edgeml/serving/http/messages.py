"""A request as it comes in over ASGI, held to the limits while it comes, and what is answered."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from edgeml.serving.errors import InvalidRequestError, RequestError, TooLargeError
from edgeml.serving.protocol.compression import accepted_encoding, compress, decompress
from edgeml.serving.protocol.limits import Limits

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Part = bytes | memoryview
T = TypeVar("T")

REFUSED = "edgeml.refused"
"""Key of a scope whose connection will not bring the rest of the body: the RequestError that says why."""

LEFT = "edgeml.left"
"""Key of a scope: what to call once the client has left, or None where it has."""

# Below this, one write of a copy is faster than several.
_JOIN_BYTES = 1 << 16
# From here on a body is compressed or decompressed on another thread, so that others are answered meanwhile.
_THREAD_BYTES = 1 << 18
# How long what is left of a refused body is thrown away: a connection that is closed before takes the answer with it.
_LINGER_S = 5.0


class SlowClientError(RequestError):
    """The client stopped sending in the middle of its request."""

    status = 408
    grpc_status = "DEADLINE_EXCEEDED"


class ClientLeftError(Exception):
    """The client closed the connection; nobody is there to answer."""


@dataclass(frozen=True, kw_only=True)
class Response:
    """An answer.

    Attributes:
        status: HTTP status code.
        headers: names in lower case.
        parts: of the body.
    """

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    parts: list[Part] = field(default_factory=list)


class Request:
    """A request whose body has not been read yet.

    Attributes:
        method: "GET", ...
        path: decoded, without the query.
        headers: names in lower case; of those sent twice the last.
        client: the client's address; "" where it is not known.
        model: name of the model in the path, "" without; known once a route is found.
        version: the version in the path, "" without.
        unread: whether some of the body has not come in yet.
    """

    def __init__(self, scope: Scope, receive: Receive, limits: Limits) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        self.client: str = scope["client"][0] if scope.get("client") else ""
        self.model = self.version = ""
        self.unread = True
        self._scope = scope
        self._receive = receive
        self._limits = limits

    @property
    def has_body(self) -> bool:
        """Whether a body belongs to it."""
        return "content-length" in self.headers or "transfer-encoding" in self.headers

    @property
    def is_small(self) -> bool:
        """Whether its body is sure to come at once."""
        stated = self.headers.get("content-length", "")
        return stated.isdigit() and len(stated) <= 5 and "expect" not in self.headers

    async def body(self) -> bytes | bytearray:
        """The body, decompressed.

        Raises:
            TooLargeError: it exceeds the limit, by its stated length, on the wire, or decompressed.
            InvalidRequestError: it is damaged.
            RequestError: the connection refused it (too slow, too many chunks).
            ClientLeftError: the client is gone.
        """
        limits = self._limits
        stated = self.headers.get("content-length", "")
        if stated.isascii() and stated.isdigit() and int(stated[:20]) > limits.body_bytes:
            raise _too_large(limits)
        found: bytes | bytearray = b""
        while self.unread:
            chunk = await self._next()
            if len(found) + len(chunk) > limits.body_bytes:
                raise _too_large(limits)
            if not found:
                found = chunk
            else:
                if isinstance(found, bytes):
                    found = bytearray(found)
                found += chunk
        encoding = self.headers.get("content-encoding", "")
        if encoding and len(found) > _THREAD_BYTES:
            return await asyncio.to_thread(decompress, found, encoding, limits.body_bytes)
        return decompress(found, encoding, limits.body_bytes)

    async def unless_left(self, make: Callable[[], Awaitable[T]]) -> T:
        """Wait for something that only this client asked for.

        Raises:
            ClientLeftError: the client is gone, and what was waited for is cancelled.
        """
        task = asyncio.current_task()
        assert task is not None
        if LEFT in self._scope:
            raise ClientLeftError
        self._scope[LEFT] = task.cancel
        try:
            return await make()
        except asyncio.CancelledError:
            if self._scope[LEFT] is None:
                raise ClientLeftError from None
            raise
        finally:
            if self._scope[LEFT] is not None:
                del self._scope[LEFT]

    async def throw_away(self) -> None:
        """Take what is left of the body, for a while, so that the client finds the answer, no broken connection."""
        if "expect" in self.headers or REFUSED in self._scope:  # it sends nothing, or too much
            return
        with suppress(RequestError, ClientLeftError, asyncio.TimeoutError):
            await asyncio.wait_for(self._rest(), _LINGER_S)

    async def _rest(self) -> None:
        while self.unread:
            await self._next()

    async def _next(self) -> bytes:
        """The next piece of the body."""
        message = await self._receive()
        if (refused := self._scope.get(REFUSED)) is not None:
            raise refused
        if message["type"] == "http.disconnect":
            raise ClientLeftError
        self.unread = message.get("more_body", False)
        piece: bytes = message.get("body", b"")
        return piece

    async def json(self) -> dict[str, Any]:
        """The body as a JSON object; an empty one as an empty object.

        Raises:
            InvalidRequestError: it is something else.
            RequestError: as `body` says.
        """
        body = await self.body()
        if not body:
            return {}
        try:
            return _OBJECT.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidRequestError(f"the body is not the JSON object that is expected: {error}") from error


def json_response(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON answer."""
    body = msgspec.json.encode(value)
    told = {"content-type": "application/json", "content-length": str(len(body))}
    return Response(status=status, headers=told | (headers or {}), parts=[body])


def text_response(text: str, content_type: str, headers: dict[str, str] | None = None) -> Response:
    """An answer of text in UTF-8."""
    body = text.encode()
    told = {"content-type": content_type, "content-length": str(len(body))}
    return Response(headers=told | (headers or {}), parts=[body])


def empty_response(status: int = 200) -> Response:
    """An answer without a body."""
    return Response(status=status, headers={"content-length": "0"})


def error_response(error: RequestError, headers: dict[str, str] | None = None) -> Response:
    """The one line of an error, as the protocol has it."""
    headers = {} if headers is None else headers
    if error.retry_after_s is not None:
        headers["retry-after"] = str(error.retry_after_s)
    if error.status == 401:
        headers["www-authenticate"] = "Bearer"
    return json_response({"error": str(error)}, error.status, headers)


async def compressed(response: Response, accept: str) -> Response:
    """The answer in the encoding that the client's Accept-Encoding asks for; as it is, where it asks for none."""
    encoding = accepted_encoding(accept) if accept and response.parts else None
    if encoding is None:
        return response
    if sum(map(len, response.parts)) > _THREAD_BYTES:
        body = await asyncio.to_thread(compress, response.parts, encoding)
    else:
        body = compress(response.parts, encoding)
    headers = response.headers | {
        "content-encoding": encoding,
        "content-length": str(len(body)),
        "vary": "accept-encoding",
    }
    return Response(status=response.status, headers=headers, parts=[body])


async def send_response(response: Response, send: Send, *, request: Request, close: bool) -> None:
    """Answer a request.

    Args:
        response: the answer.
        send: ASGI's.
        request: what is answered; where some of its body is still to come, the connection is not used again.
        close: whether the connection is not to be used again in any case.
    """
    left = request.has_body and request.unread
    if left and request.is_small:  # then the connection can go on
        await request.throw_away()
        left = request.unread
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in response.headers.items()]
    if close or left:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    parts = [] if request.method == "HEAD" else response.parts
    if left:
        await send({"type": "http.response.body", "body": b"".join(parts), "more_body": True})
        await request.throw_away()
        parts = []
    if len(parts) > 1 and sum(map(len, parts)) <= _JOIN_BYTES:
        parts = [b"".join(parts)]
    for part in parts[:-1]:
        await send({"type": "http.response.body", "body": bytes(part), "more_body": True})
    await send({"type": "http.response.body", "body": bytes(parts[-1]) if parts else b""})


_OBJECT = msgspec.json.Decoder(dict[str, Any])


def _too_large(limits: Limits) -> TooLargeError:
    return TooLargeError(f"the body is larger than {limits.body_bytes} bytes, which is the most this server takes")
