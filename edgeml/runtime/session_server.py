"""The program at the far end of a Session in another process: opens one model and runs it for whoever holds its pipes.

Run as `python -m edgeml.runtime.session_server`; needs numpy and tvm_ffi only. Requests and answers are messages of
`array_messages`:

    open     artifact (a manifest), path, device, threads, optimize -> nothing
    run      the inputs, in the model's order -> the outputs, in the model's order
    time     runs; the inputs -> latency_ms: of each run, on the device's own clock (RPC devices)

An answer is {"ok": {...}} or {"error": message, "kind": name of the EdgeMLError}.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import numpy.typing as npt

from edgeml.core.artifact import Artifact
from edgeml.core.device import Device
from edgeml.core.errors import EdgeMLError
from edgeml.core.session import Feeds, Session, SessionOptions
from edgeml.runtime.array_messages import read_message, write_message


def serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    """Obey requests until there are no more."""
    session: Session | None = None
    try:
        while (message := read_message(requests)) is not None:
            request, arrays = message
            outputs: list[npt.NDArray[Any]] = []
            answer: dict[str, Any] = {}
            try:
                match request:
                    case {"command": "open"}:
                        session = _open(request)
                    case {"command": "run"} if session is not None:
                        found = session.run(_feeds(session, arrays))
                        outputs = [found[spec.name] for spec in session.outputs]
                    case {"command": "time", "runs": runs}:
                        answer = {"latency_ms": _time(session, arrays, runs)}
                    case _:
                        raise EdgeMLError(f"the request {str(request)!r:.80} cannot be served")
                reply: dict[str, Any] = {"ok": answer}
            except MemoryError:
                reply = {"error": "it needs more memory than this machine has available", "kind": EdgeMLError.__name__}
            except EdgeMLError as error:
                reply = {"error": str(error), "kind": type(error).__name__}
            write_message(answers, reply, outputs)
    finally:
        if session is not None:
            session.close()


def _open(request: dict[str, Any]) -> Session:
    path = Path(request["path"])
    artifact = Artifact.from_json(request["artifact"], path.parent).at(path)
    device = Device.parse(request["device"])
    options = SessionOptions(threads=request["threads"], optimize=request["optimize"])
    if device.scheme in {"rpc", "rpc-tracker"}:
        from edgeml.runtime.tvm.rpc_client import open_connection

        return open_connection(artifact, device, options)
    from edgeml.runtime.tvm.session import Tvm

    return Tvm().open(artifact, device, options)


def _feeds(session: Session, arrays: list[npt.NDArray[Any]]) -> Feeds:
    return {spec.name: array for spec, array in zip(session.inputs, arrays, strict=True)}


def _time(session: Session | None, arrays: list[npt.NDArray[Any]], runs: int) -> list[float]:
    from edgeml.runtime.tvm.rpc_client import RpcConnection

    if not isinstance(session, RpcConnection):
        raise EdgeMLError("only a session over RPC is timed by the device's own clock")
    return session.device_latencies_ms(_feeds(session, arrays), runs)


def main() -> None:
    """Serve on this process's stdin and stdout."""
    with suppress(ValueError):
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the other side, which then closes the pipe
    # Whatever a library prints goes to stderr: the answers have a channel of their own.
    channel = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    with os.fdopen(channel, "wb") as answers, suppress(BrokenPipeError):
        serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
