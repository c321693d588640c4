"""The emulated device: right results, and no latency."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgeml.core.artifact import Artifact
from edgeml.core.device import Device
from edgeml.core.errors import MissingError
from edgeml.edge_bench.client import WorkerClient
from edgeml.edge_bench.devices.connect import connect
from edgeml.runtime.emulated.machine import emulated_machine
from tests.edge_bench.devices.open_library import TIMEOUT_S, open_library

DEVICE = Device("qemu", "aarch64")


def test_it_is_missing_where_it_is_not_set_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    told = "is not installed|the emulated ARM device is not set up; set it up"
    with pytest.raises(MissingError, match=told), connect(DEVICE):
        pytest.fail("it was connected")


@pytest.mark.tvm
@pytest.mark.qemu
@pytest.mark.slow
def test_a_worker_computes_on_it_and_times_mean_nothing(
    tvm_libraries_of: Callable[[str], dict[str, Artifact]], tmp_path: Path
) -> None:
    import onnxruntime

    try:
        emulated_machine()
    except MissingError as error:
        pytest.skip(str(error))
    artifact = tvm_libraries_of("rpi4")["net"]
    images = np.random.default_rng(0).standard_normal((3, 3, 16, 16)).astype(np.float32)
    np.save(tmp_path / "images.npy", images)
    with connect(DEVICE) as connection:
        assert (connection.device, connection.measures_latency) == (DEVICE, False)
        assert connection.worker_device == str(DEVICE)
        samples, output = connection.put(tmp_path / "images.npy"), connection.scratch("logits.npy")
        with WorkerClient(connection.start("net"), "net") as worker:
            open_library(worker, connection, artifact, samples=samples)
            worker.ask("predict", timeout_s=TIMEOUT_S, samples=samples, output=output)
        connection.fetch(output, tmp_path / "logits.npy")
    session = onnxruntime.InferenceSession(str(artifact.path.with_suffix(".onnx")), providers=["CPUExecutionProvider"])
    expected = session.run(None, {"image": images})[0]
    np.testing.assert_allclose(np.load(tmp_path / "logits.npy"), expected, rtol=1e-5, atol=1e-5)
    assert not Path(output).parent.exists()
