"""A worker on a device, and the steps of a measurement with it."""

from pathlib import Path

import numpy as np
import pytest

from edgeml.core.errors import UsageError
from edgeml.edge_bench.client import WorkerClient
from edgeml.edge_bench.devices.connection import Connection
from edgeml.edge_bench.devices.posix import PosixConnection
from edgeml.edge_bench.devices.ssh import SshShell
from edgeml.runtime.onnx_file import open_artifact
from tests.edge_bench.devices.conftest import SshDevice

TIMEOUT_S = 60.0


def open_worker(connection: Connection, path: Path, samples: Path | None = None) -> WorkerClient:
    worker = WorkerClient(connection.start(str(path)), str(path))
    opened = worker.ask(
        "open",
        timeout_s=TIMEOUT_S,
        artifact=open_artifact(path).to_json(),
        path=connection.put(path),
        runtime="onnxruntime",
        threads=1,
        batch=1,
        seed=0,
        samples=None if samples is None else connection.put(samples),
    )
    assert opened["batch"] == 1
    return worker


def connected(device: SshDevice, **changes: object) -> PosixConnection:
    profile = device.changed(**changes)
    return PosixConnection(SshShell(profile), profile)


def measure_over(connection: Connection, path: Path, tmp_path: Path) -> None:
    """Opens, samples, predicts and fetches, and compares with the same worker on this machine."""
    images = np.random.default_rng(0).standard_normal((6, 1, 8, 8)).astype(np.float32)
    np.save(tmp_path / "images.npy", images)
    with open_worker(connection, path, tmp_path / "images.npy") as worker:
        assert len(worker.ask("sample", timeout_s=TIMEOUT_S, runs=3, settle=0)["latency_ns"]) == 3
        output = connection.scratch("logits.npy")
        worker.ask("predict", timeout_s=TIMEOUT_S, samples=connection.put(tmp_path / "images.npy"), output=output)
        with pytest.raises(UsageError, match="unknown runtime 'abacus'"):
            worker.ask("open", timeout_s=TIMEOUT_S, **_refused(path))
    connection.fetch(output, tmp_path / "logits.npy")
    import onnxruntime

    reference = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    expected = reference.run(None, {"image": images})[0]
    np.testing.assert_allclose(np.load(tmp_path / "logits.npy"), expected, rtol=1e-4, atol=1e-5)


def _refused(path: Path) -> dict[str, object]:
    known = {"threads": 1, "batch": 1, "seed": 0, "samples": None}
    return known | {"artifact": open_artifact(path).to_json(), "path": str(path), "runtime": "abacus"}


def other_file(tmp_path: Path) -> Path:
    path = tmp_path / "other.onnx"
    path.write_bytes(b"other")
    return path
