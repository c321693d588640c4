"""Has a worker open a compiled library as the bench stage does."""

from __future__ import annotations

from typing import Any

from edgeml.core.artifact import Artifact
from edgeml.edge_bench.client import WorkerClient
from edgeml.edge_bench.devices.connection import Connection

TIMEOUT_S = 120.0


def open_library(worker: WorkerClient, connection: Connection, artifact: Artifact, **changes: Any) -> dict[str, Any]:
    return worker.ask(
        "open",
        timeout_s=TIMEOUT_S,
        **{
            "artifact": artifact.to_json(),
            "path": connection.put(artifact.path),
            "runtime": "tvm",
            "device": connection.worker_device,
            "threads": 1,
            "batch": 1,
            "seed": 0,
            "samples": None,
        }
        | changes,
    )
