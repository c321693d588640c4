"""Connections of every kind but ssh's: what a worker there does, and that nothing stays behind."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import pytest

from edgeml.core.device import LOCAL, Device
from edgeml.core.errors import EdgeMLError, UsageError
from edgeml.edge_bench.client import WorkerClient
from edgeml.edge_bench.devices.connect import connect, open_shell
from edgeml.edge_bench.devices.errors import DeviceLostError
from edgeml.edge_bench.devices.profiles import DeviceProfile
from edgeml.runtime.onnx_file import open_artifact
from tests.conftest import WriteConvNet
from tests.edge_bench.devices.adb_device import SERIAL, attach_device
from tests.edge_bench.devices.ssh_servers import processes_in

TIMEOUT_S = 60.0
PHONE = Device("adb", SERIAL)


@pytest.fixture(autouse=True)
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def never(message: str) -> None:
    pytest.fail(message)


def test_a_model_is_measured_on_an_adb_device_and_nothing_stays_but_what_the_next_run_needs(
    write_conv_net: WriteConvNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = attach_device(tmp_path, monkeypatch)
    profile = DeviceProfile(name="phone", device=PHONE, python=sys.executable, directory="~/edgeml")
    path = write_conv_net()
    artifact = open_artifact(path)
    images = np.random.default_rng(0).standard_normal((5, 1, 8, 8)).astype(np.float32)
    np.save(tmp_path / "images.npy", images)
    logits = tmp_path / "logits.npy"
    with connect(PHONE, profile, note=never) as connection:
        assert (connection.device, connection.measures_latency, connection.worker_device) == (PHONE, True, "local")
        remote, samples = connection.put(path), connection.put(tmp_path / "images.npy")
        assert Path(remote).read_bytes() == path.read_bytes()
        assert Path(remote).is_relative_to(home / "home/edgeml/files")
        with WorkerClient(connection.start("net"), "net") as worker:
            opened = worker.ask(
                "open",
                timeout_s=TIMEOUT_S,
                artifact=artifact.to_json(),
                path=remote,
                runtime="onnxruntime",
                threads=1,
                batch=1,
                seed=0,
                samples=samples,
            )
            assert opened["threads"] == 1
            output = connection.scratch("logits.npy")
            worker.ask("predict", timeout_s=TIMEOUT_S, samples=samples, output=output)
            connection.fetch(output, logits)
        assert np.load(logits).shape == (5, 10)
        with pytest.raises(EdgeMLError, match="is in use: process"), connect(PHONE, profile, wait_s=0):
            pytest.fail("two measure at a time")
    kept = {each.name for each in (home / "home/edgeml").iterdir()}
    assert "files" in kept
    assert not [name for name in kept if name.startswith("run-")]
    assert processes_in(home) == []
    with connect(PHONE, profile, note=never) as connection:
        assert connection.put(path) == remote
    pushes = [line for line in (home / "calls").read_text().splitlines() if " push " in line]
    assert len([line for line in pushes if str(path) in line]) == 1


def ask_until_lost(worker: WorkerClient) -> None:
    for _ in range(10_000):  # the link goes some milliseconds after the cable
        worker.ask("memory", timeout_s=TIMEOUT_S)


def test_a_cable_that_is_pulled_ends_what_runs_on_the_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = attach_device(tmp_path, monkeypatch)
    profile = DeviceProfile(name="phone", device=PHONE, python=sys.executable, directory="~/edgeml")
    with connect(PHONE, profile, note=never) as connection:
        worker = WorkerClient(connection.start("net"), "net")
        assert worker.ask("memory", timeout_s=TIMEOUT_S)["peak_memory_bytes"] > 0
        (home / "unplugged").touch()
        with pytest.raises(DeviceLostError, match=f"net: the link to adb://{SERIAL} was cut"):
            ask_until_lost(worker)
        with pytest.raises(DeviceLostError, match="was cut"):
            connection.put(Path(__file__))
    for _ in range(200):
        runs = list((home / "home/edgeml").glob("run-*"))
        if not runs and not processes_in(home):
            break
        time.sleep(0.05)
    assert runs == []
    assert processes_in(home) == []


def test_this_machine_is_a_device_like_any_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with connect(LOCAL) as connection:
        assert (connection.device, connection.worker_device) == (LOCAL, "local")
        assert connection.put(tmp_path / "x") == str(tmp_path / "x")
        assert Path(connection.scratch("logits.npy")).parent.is_dir()
    assert list(tmp_path.glob("edgeml-run-*")) == []


def test_a_profile_of_another_device_and_a_device_without_a_shell_are_refused() -> None:
    profile = DeviceProfile(name="phone", device=PHONE)
    with pytest.raises(UsageError, match="is of the device adb://"), connect(LOCAL, profile):
        pytest.fail("it was connected")
    with pytest.raises(UsageError, match="has no shell"):
        open_shell(DeviceProfile(name="here", device=LOCAL))
