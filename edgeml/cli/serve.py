"""`edgeml serve`: models over HTTP and gRPC, for clients of the Open Inference Protocol."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from edgeml.cli.output import note
from edgeml.core.errors import UsageError, needs_extra
from edgeml.runtime.loopback import is_loopback

_COUNT = click.IntRange(min=1)
_PORT = click.IntRange(0, 65535)
_FILE = click.Path(path_type=Path)
_SIZE = re.compile(r"(?P<number>[0-9]{1,12})(?P<unit>|k|M|G)")
_UNITS = {"": 1, "k": 1 << 10, "M": 1 << 20, "G": 1 << 30}


@click.command("serve")
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option("--port", default=8000, show_default=True, type=_PORT, help="Port of HTTP; 0 takes a free one.")
@click.option("--grpc-port", default=8001, show_default=True, type=_PORT, help="Port of gRPC; 0 takes a free one.")
@click.option("--no-grpc", is_flag=True, help="Serve HTTP alone.")
@click.option("--threads", type=_COUNT, help="Threads inside one operator.  [default: the cores, shared by instances]")
@click.option("--instances", default=1, show_default=True, type=_COUNT, help="Batches of one model that run at once.")
@click.option(
    "--max-batch",
    type=click.IntRange(min=0),
    help="Most samples that are run together; 0 joins no requests.  [default: 32 where the model allows it]",
)
@click.option(
    "--batch-delay-us",
    default=0,
    show_default=True,
    type=click.IntRange(min=0),
    help="Microseconds that a request may wait for others to join it.",
)
@click.option("--queue", default=256, show_default=True, type=_COUNT, help="Requests that may wait for one model.")
@click.option(
    "--timeout",
    default=30.0,
    show_default=True,
    type=click.FloatRange(min=0, min_open=True),
    help="Seconds until a request is given up.",
)
@click.option("--max-body", default="64M", show_default=True, help="Largest request: bytes, or with k, M or G.")
@click.option(
    "--reload",
    "reload_s",
    default=0.0,
    show_default=True,
    type=click.FloatRange(min=0),
    help="Seconds between looks for files that have changed; 0 looks once.",
)
@click.option("--token-file", type=_FILE, help="Ask clients for one of the tokens in this file, one a line.")
@click.option("--tls-cert", type=_FILE, help="Serve over TLS with this certificate chain (PEM).")
@click.option("--tls-key", type=_FILE, help="The certificate's private key (PEM).")
@click.option(
    "--rate-limit",
    default=0.0,
    show_default=True,
    type=click.FloatRange(min=0),
    help="Requests a second that one client may send; 0 for any number.",
)
@click.option("--log", type=_FILE, help="Append the log to this file.  [default: stderr]")
@click.option("--log-format", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("--log-requests", is_flag=True, help="Leave a line in the log for each answer.")
def command(models: tuple[str, ...], host: str, port: int, grpc_port: int, no_grpc: bool, **options: Any) -> None:
    """Serve models over HTTP and gRPC, by the Open Inference Protocol (KServe, Triton).

    MODEL is an ONNX file, a compiled library, the NAME.residual.onnx of a network for video, NAME=FILE to name it, or a
    directory of models laid out as NAME/VERSION/model.onnx. Clients of Triton and KServe work as they are; a browser
    finds a status page at /.
    """
    import asyncio

    with needs_extra("serve"):
        import google.protobuf  # noqa: F401 (what is missing is told of here, not in the middle)
        import grpc  # noqa: F401
        import prometheus_client  # noqa: F401
        import uvicorn  # noqa: F401
    from edgeml.serving.engine.configuration import ModelConfiguration
    from edgeml.serving.http.authorization import Tokens
    from edgeml.serving.logs import logging_to
    from edgeml.serving.protocol.limits import Limits
    from edgeml.serving.repository.opening import open_repository
    from edgeml.serving.server import ServerSettings, serve

    body_bytes = _bytes(options["max_body"])
    settings = ServerSettings(
        host=host,
        port=port,
        grpc_port=None if no_grpc else grpc_port,
        certificate=options["tls_cert"],
        key=options["tls_key"],
        tokens=Tokens() if options["token_file"] is None else Tokens.read(options["token_file"]),
        requests_per_second=options["rate_limit"],
        reload_s=options["reload_s"],
        limits=Limits(body_bytes=body_bytes, queue=options["queue"], request_s=options["timeout"]),
        log_requests=options["log_requests"],
    )
    repository = open_repository(
        models,
        ModelConfiguration(
            max_batch_size=options["max_batch"],
            max_queue_delay_us=options["batch_delay_us"],
            instances=options["instances"],
            threads=options["threads"],
        ),
    )
    if not is_loopback(host) and not (settings.tokens and settings.certificate):
        lacking = [
            name
            for name, given in (("--token-file", settings.tokens), ("--tls-cert and --tls-key", settings.certificate))
            if not given
        ]
        note(f"edgeml: warning: {host} can be reached by others; consider {' and '.join(lacking)}")

    def listening(http: int, grpc_at: int | None) -> None:
        scheme = "http" if settings.certificate is None else "https"
        place = f"[{host}]" if ":" in host else host
        also = "" if grpc_at is None else f", gRPC at {place}:{grpc_at}"
        note(f"edgeml: serving at {scheme}://{place}:{http}{also}")

    with logging_to(options["log"], options["log_format"]):
        try:
            import uvloop
        except ModuleNotFoundError:  # there is none for Windows
            asyncio.run(serve(repository, settings, listening))
        else:
            uvloop.run(serve(repository, settings, listening))


def _bytes(text: str) -> int:
    match = _SIZE.fullmatch(text)
    if match is None or not int(match["number"]):
        raise UsageError(f"--max-body is {text!r:.40}; it must be a number of bytes such as 1000000, 512k or 64M")
    return int(match["number"]) * _UNITS[match["unit"]]
