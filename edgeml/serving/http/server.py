"""uvicorn around the application: how it starts, and how it stops without losing an answer."""

from __future__ import annotations

import asyncio
import ssl
import time
from pathlib import Path
from typing import Any

import uvicorn

from edgeml.core.errors import UsageError
from edgeml.serving.http.application import Application
from edgeml.serving.http.connections import bounded_connections, is_idle
from edgeml.serving.protocol.limits import Limits

_TICK_S = 0.02
_KEEP_ALIVE_S = 75
# How long a connection that is idle may still bring a request that was on its way when the server began to stop.
_LAST_REQUESTS_S = 0.5


class HttpServer:
    """The HTTP side of a server.

    Attributes:
        port: the TCP port, once it is started.
    """

    def __init__(self, application: Application, *, certificate: Path | None, key: Path | None, limits: Limits) -> None:
        """Ready to start.

        Args:
            application: answers the requests.
            certificate: TLS certificate chain (PEM); None for no TLS.
            key: its private key (PEM).
            limits: bounds on requests.
        """
        self._application = application
        self._configuration = uvicorn.Config(
            application,
            http=bounded_connections(limits),
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            server_header=False,
            proxy_headers=False,  # anybody could write another address there, and rates are counted by address
            timeout_keep_alive=_KEEP_ALIVE_S,
            ssl_certfile=certificate,
            ssl_keyfile=key,
        )
        self._certificate = certificate
        self._running: asyncio.Task[None] | None = None
        self.port = 0

    async def start(self, listener: Any) -> None:
        """Answer at a listening socket, which is closed at the end.

        Raises:
            UsageError: the certificate or key cannot be used.
        """
        try:
            self._configuration.load()
        except (OSError, ssl.SSLError) as error:
            listener.close()
            raise UsageError(f"the certificate {self._certificate} and its key cannot be used: {error}") from error
        self._server = _Server(self._configuration)
        self._listener = listener
        self.port = listener.getsockname()[1]
        self._running = asyncio.create_task(self._server.serve(sockets=[listener]))
        while not self._server.started and not self._running.done():
            await asyncio.sleep(0.001)
        if self._running.done():
            self._running.result()

    async def stop(self, timeout_s: float) -> None:
        """Take no new connections, answer what has come on the open ones, and end.

        Clients keep connections open, and a request may be on its way on one that looks idle. So each is told to close
        with its next answer, and one that stays idle is closed after `_LAST_REQUESTS_S`.

        Args:
            timeout_s: after which connections are closed whatever they wait for.
        """
        running, self._running = self._running, None
        if running is None:
            return
        self._application.draining = True
        for server in self._server.servers:
            server.close()
        began = time.monotonic()
        connections = self._server.server_state.connections
        while connections and (elapsed := time.monotonic() - began) < timeout_s:
            if elapsed >= _LAST_REQUESTS_S:
                for connection in list(connections):
                    if is_idle(connection):
                        connection.shutdown()
            await asyncio.sleep(_TICK_S)
        self._server.force_exit = bool(connections)  # else uvicorn waits for the tasks whose clients are cut off
        for connection in list(connections):
            connection.transport.abort()
        self._server.should_exit = True
        await running


class _Server(uvicorn.Server):
    """Leaves signals to whoever runs it."""

    def capture_signals(self) -> Any:
        """See uvicorn."""
        from contextlib import nullcontext

        return nullcontext()
