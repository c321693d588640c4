"""uvicorn's connections, with bounds on what a client may do before its request is there."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from edgeml.serving.errors import InvalidRequestError, RequestError
from edgeml.serving.http.messages import LEFT, REFUSED, SlowClientError
from edgeml.serving.protocol.limits import Limits

# Longer heads than any client of ours sends; uvicorn's parser itself has no bound.
HEAD_BYTES = 64 << 10
# A body must come at least this fast on the whole, or a client could hold memory by a byte now and then.
SLOWEST_BYTES_PER_S = 1000
# What a piece of a chunked body may need beside its data: its length in hex, and line ends.
_FRAME_BYTES = 32
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})
_REFUSAL = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"


class HeadTooLongError(RequestError):
    """The request line and headers exceed what this server reads."""

    status = 431


def bounded_connections(limits: Limits) -> type[asyncio.Protocol]:
    """The class of a server's connections.

    A head (request line and headers) must be there `limits.read_s` after the connection was opened or its first byte
    came, and has at most `HEAD_BYTES`. In a body a client may be silent for `limits.read_s`, and must send
    `SLOWEST_BYTES_PER_S` on the whole; a chunked one has at most `limits.chunks` chunks, and what lies between and
    behind them (extensions, trailers) is bounded too. Else a client could hold connections and memory for nothing, byte
    by byte.
    """

    class BoundedConnection(HttpToolsProtocol):
        _timer: asyncio.TimerHandle | None = None
        _in_head = True
        _repeated = False  # whether the parser reads a head again
        _began = 0.0  # when the head's first byte came, or the body's
        _last = 0.0  # when anything came
        _head_bytes = 0
        _body_bytes = 0
        _beside_bytes = 0  # of a message's framing: all that came behind its head and is no data
        _chunks = 0

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._answered: dict[str, Any] = {}  # the scope of the request whose answer is made
            self._began = self.loop.time()
            self._watch(limits.read_s)

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_watching()
            super().connection_lost(exc)
            cancel, self._answered[LEFT] = self._answered.get(LEFT), None
            if cancel is not None:
                cancel()

        def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
            self._answered = cast("dict[str, Any]", cycle.scope)
            super()._start_asgi_task(cycle, app)

        def data_received(self, data: bytes) -> None:
            self._last = self.loop.time()
            if not self._in_head:
                self._beside_bytes += len(data)
            elif not self._head_bytes:
                self._began, self._head_bytes = self._last, len(data)
            else:
                self._head_bytes += len(data)
            self._unset_keepalive_if_required()
            self._feed(data)
            if self._in_head and not self._head_bytes:  # nothing is under way
                self._stop_watching()
                return
            if self._timer is None:
                self._watch(limits.read_s)
            if self._in_head and self._head_bytes > HEAD_BYTES:
                self._refuse(HeadTooLongError(f"the head of the request is longer than {HEAD_BYTES} bytes"))
            elif self._chunks > limits.chunks:
                self._refuse(InvalidRequestError(f"the body came in more than {limits.chunks} chunks"))
            elif self._beside_bytes > HEAD_BYTES + _FRAME_BYTES * self._chunks:
                self._refuse(InvalidRequestError(f"more than {HEAD_BYTES} bytes of the body are no data"))

        def _feed(self, data: bytes) -> None:
            try:
                self.parser.feed_data(data)
            except HttpParserUpgrade as upgrade:
                self._decline_upgrade()
                if rest := data[upgrade.args[0] :]:
                    self._feed(rest)
            except HttpParserError:
                self._refuse(InvalidRequestError("the request is not of HTTP/1.1's form"))

        def _decline_upgrade(self) -> None:
            """Go on in HTTP/1.1 with a client that offered another protocol (RFC 9110, 7.8), as Java's clients do.

            The parser takes what follows such a head for the other protocol. So another one, which has read a head of
            the same framing without the offer, reads the body.
            """
            framing = [(name, value) for name, value in self.headers if name in _FRAMING]
            self.parser = HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
            self._repeated = True
            self.parser.feed_data(_head(framing))
            self._repeated = False

        def on_message_begin(self) -> None:
            if not self._repeated:
                super().on_message_begin()

        def on_url(self, url: bytes) -> None:
            if not self._repeated:
                super().on_url(url)

        def on_header(self, name: bytes, value: bytes) -> None:
            if not self._repeated:
                super().on_header(name, value)

        def on_headers_complete(self) -> None:
            if self._repeated:
                return
            super().on_headers_complete()
            self._in_head = False
            self._began = self._last
            self._body_bytes = self._beside_bytes = self._chunks = 0

        def on_chunk_header(self) -> None:
            self._chunks += 1

        def on_body(self, body: bytes) -> None:
            self._body_bytes += len(body)
            self._beside_bytes -= len(body)
            # uvicorn copies the body into a bytearray, and again into bytes; the first piece, often all, need not be.
            cycle: Any = self.cycle
            if not cycle.body:
                cycle.body = b""
            elif isinstance(cycle.body, bytes):
                cycle.body = bytearray(cycle.body)
            super().on_body(body)

        def on_message_complete(self) -> None:
            if not self.parser.should_upgrade():  # else its body is still to come
                super().on_message_complete()
                self._in_head, self._head_bytes = True, 0

        def _watch(self, seconds: float) -> None:
            self._timer = self.loop.call_later(seconds, self._look)

        def _stop_watching(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

        def _look(self) -> None:
            """Whether the client has taken too long; if it has not, see to it that this is looked at again in time."""
            self._timer = None
            now = self.loop.time()
            if self.pipeline or self.flow.read_paused:  # it is us who take nothing: an earlier request runs
                self._began = self._last = now
                self._body_bytes = 0
            due = self._began + limits.read_s
            if not self._in_head:
                due = min(due + self._body_bytes / SLOWEST_BYTES_PER_S, self._last + limits.read_s)
            if now < due:
                self._watch(due - now)
            elif self._in_head and not self._head_bytes:  # it never sent anything, and waits for no answer
                self.transport.close()
            else:
                self._refuse(SlowClientError("the request did not come in time"))

        def _refuse(self, error: RequestError) -> None:
            """Answer with the error in place of a request that is not complete, and end the connection."""
            self._stop_watching()
            if self.transport.is_closing():
                return
            if not is_idle(self) and not self._in_head:  # its handler waits for the body, and answers
                cast("dict[str, Any]", self.scope).setdefault(REFUSED, error)
                self.cycle.message_event.set()
                return
            if is_idle(self) and self._in_head:  # else an answer is under way, which this would be taken for
                body = b'{"error":"%b"}' % str(error).encode()
                self.transport.write(STATUS_LINE[error.status] + _REFUSAL % (len(body), body))
            self.transport.close()

    return BoundedConnection


def _head(headers: list[tuple[bytes, bytes]]) -> bytes:
    return b"POST / HTTP/1.1\r\n%b\r\n" % b"".join(b"%b: %b\r\n" % header for header in headers)


def is_idle(connection: Any) -> bool:
    """Whether no request is under way on one of uvicorn's connections."""
    return connection.cycle is None or bool(connection.cycle.response_complete)
