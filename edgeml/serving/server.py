"""A server from its start to its end: models, both protocols, signals."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

from edgeml.core.errors import EdgeMLError, UsageError
from edgeml.serving.engine.engine import RunningEngine
from edgeml.serving.engine.memory import share_arenas
from edgeml.serving.grpc.server import GrpcSettings, start_grpc
from edgeml.serving.http.application import Application
from edgeml.serving.http.authorization import Tokens
from edgeml.serving.http.metrics import Metrics
from edgeml.serving.http.rate_limit import RateLimit
from edgeml.serving.http.server import HttpServer
from edgeml.serving.logs import LOGGER
from edgeml.serving.protocol.limits import Limits
from edgeml.serving.reloading import keep_current
from edgeml.serving.repository_protocol import Repository

DRAIN_S = 10.0

_log = logging.getLogger(LOGGER)


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """How a server is reached, and by whom.

    Attributes:
        host: address to listen at.
        port: TCP port of HTTP; 0 takes a free one.
        grpc_port: TCP port of gRPC; 0 takes a free one, None serves no gRPC.
        certificate: TLS certificate chain (PEM); None serves without TLS.
        key: its private key (PEM).
        tokens: who may use the server.
        requests_per_second: of one client; 0 for no limit.
        reload_s: seconds between looks at the repository; 0 looks once.
        limits: bounds on requests.
        log_requests: whether every answer leaves a line in the log.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    grpc_port: int | None = 8001
    certificate: Path | None = None
    key: Path | None = None
    tokens: Tokens = field(default_factory=Tokens)
    requests_per_second: float = 0.0
    reload_s: float = 0.0
    limits: Limits = field(default_factory=Limits)
    log_requests: bool = False

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise UsageError("TLS takes a certificate and its key; only one of the two is given")
        for path in (self.certificate, self.key):
            if path is not None and not path.is_file():
                raise UsageError(f"there is no file {path}; TLS takes a certificate and its key as PEM files")


Listening = Callable[[int, int | None], None]
"""Told the ports of HTTP and gRPC (None without) once both answer."""


async def serve(
    repository: Repository, settings: ServerSettings, listening: Listening, stop: asyncio.Event | None = None
) -> None:
    """Serve until SIGTERM or SIGINT; then take no new connections, and answer what was accepted for `DRAIN_S` seconds.

    Both protocols answer from the start; models are not ready until they are loaded.

    Args:
        repository: the models.
        settings: how they are served.
        listening: called once both protocols answer.
        stop: ends the server when it is set; None for the two signals.

    Raises:
        EdgeMLError: a port or a certificate cannot be used.
    """
    share_arenas()
    metrics = Metrics()
    engine = RunningEngine(settings.limits, find=repository.find, observe=metrics.ran, fault=_tell_fault)
    metrics.watch(engine.waiting)
    rate_limit = RateLimit(settings.requests_per_second)
    application = Application(
        engine,
        metrics=metrics,
        limits=settings.limits,
        tokens=settings.tokens,
        rate_limit=rate_limit,
        log_requests=settings.log_requests,
    )
    stop = _stop_signal() if stop is None else stop
    async with AsyncExitStack() as stack:
        stack.push_async_callback(engine.close)
        http = HttpServer(application, certificate=settings.certificate, key=settings.key, limits=settings.limits)
        await http.start(_listen(settings.host, settings.port))
        stack.push_async_callback(http.stop, 0.0)
        grpc = None
        if settings.grpc_port is not None:
            grpc = await start_grpc(
                engine,
                GrpcSettings(
                    host=settings.host,
                    port=settings.grpc_port,
                    certificate=settings.certificate,
                    key=settings.key,
                    tokens=settings.tokens,
                    limits=settings.limits,
                    admit=rate_limit.check,
                    answered=lambda status: metrics.answered("grpc", status),
                ),
            )
            stack.push_async_callback(grpc.stop, 0.0)
        updates = asyncio.create_task(keep_current(engine, repository, settings.reload_s))
        listening(http.port, None if grpc is None else grpc.port)
        await _until(stop, updates)
        began = time.monotonic()
        _log.info("stopping", extra={"fields": {"at_most_s": DRAIN_S}})
        updates.cancel()
        with suppress(asyncio.CancelledError):
            await updates
        await asyncio.gather(http.stop(DRAIN_S), *([] if grpc is None else [grpc.stop(DRAIN_S)]))
        answered = await engine.drain(max(0.1, DRAIN_S - (time.monotonic() - began)))
        _log.info("stopped", extra={"fields": {"all_answered": answered}})


def _tell_fault(model: str, version: str, reason: str) -> None:
    _log.error("not served", extra={"fields": {"model": model, "version": version, "reason": reason}})


def _stop_signal() -> asyncio.Event:
    """Set by SIGTERM and SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        if sys.platform == "win32":  # its event loops take no signals
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop.set))
        else:
            loop.add_signal_handler(number, stop.set)
    return stop


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host.strip("[]"), port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise EdgeMLError(f"cannot listen at {host} port {port}: {reason}; give another with --port") from error
    # Its connections inherit it; asyncio sets it for sockets that it makes itself only. Without it, an answer in two
    # writes waits for the client's delayed acknowledgement, 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


async def _until(stop: asyncio.Event, updates: asyncio.Task[None]) -> None:
    """Wait for the signal; what ends the updates by an error ends the server."""
    waiting = asyncio.create_task(stop.wait())
    await asyncio.wait({waiting, updates}, return_when=asyncio.FIRST_COMPLETED)
    if updates.done():
        try:
            updates.result()
        except BaseException:
            waiting.cancel()
            raise
        await waiting
