"""gRPC's server around the service."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import grpc

from edgeml.core.errors import EdgeMLError, UsageError
from edgeml.serving.engine_protocol import Engine
from edgeml.serving.grpc.service import Service
from edgeml.serving.http.authorization import Tokens
from edgeml.serving.protocol.limits import Limits


@dataclass(frozen=True, kw_only=True)
class GrpcSettings:
    """How the gRPC side of a server is reached, and by whom.

    Attributes:
        host: address to listen at.
        port: TCP port; 0 takes a free one.
        certificate: TLS certificate chain (PEM); None for no TLS.
        key: its private key (PEM).
        tokens: who may use the server.
        limits: bounds on requests.
        admit: counts a request of a client; raises a RequestError where it is one too many.
        answered: told the status of each answer.
    """

    host: str
    port: int
    certificate: Path | None
    key: Path | None
    tokens: Tokens
    limits: Limits
    admit: Callable[[str], None]
    answered: Callable[[str], None]


class GrpcServer:
    """A server that is running.

    Attributes:
        port: its TCP port.
    """

    def __init__(self, server: grpc.aio.Server, port: int) -> None:
        self._server = server
        self.port = port

    async def stop(self, timeout_s: float) -> None:
        """Take no new calls; answer those that came, for at most that long."""
        await self._server.stop(timeout_s)


async def start_grpc(engine: Engine, settings: GrpcSettings) -> GrpcServer:
    """Answer at the port.

    Raises:
        UsageError: the certificate or its key cannot be read.
        EdgeMLError: the port cannot be listened at.
    """
    server = grpc.aio.server(
        options=(
            ("grpc.max_receive_message_length", settings.limits.body_bytes),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),  # else a second server would silently take half of the calls
        )
    )
    service = Service(
        engine, limits=settings.limits, tokens=settings.tokens, admit=settings.admit, answered=settings.answered
    )
    server.add_generic_rpc_handlers((service.handler(),))
    host = f"[{settings.host}]" if ":" in settings.host and not settings.host.startswith("[") else settings.host
    address = f"{host}:{settings.port}"
    try:
        if settings.certificate is not None and settings.key is not None:
            port = server.add_secure_port(address, _credentials(settings.certificate, settings.key))
        else:
            port = server.add_insecure_port(address)
    except RuntimeError as error:
        raise EdgeMLError(
            f"cannot listen at {settings.host} port {settings.port} for gRPC: it is in use or not ours; give another "
            "with --grpc-port, or --no-grpc"
        ) from error
    await server.start()
    return GrpcServer(server, port)


def _credentials(certificate: Path, key: Path) -> grpc.ServerCredentials:
    try:
        return grpc.ssl_server_credentials([(key.read_bytes(), certificate.read_bytes())])
    except OSError as error:
        raise UsageError(f"the certificate {certificate} and its key cannot be read: {error}") from error
