"""The journey of one network to every kind of device: exported, compiled, sent, held to its reference, measured."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgeml.core.device import Device
from edgeml.core.errors import MissingError
from edgeml.edge_bench.devices.profiles import DeviceProfile, save_profile
from edgeml.runtime.emulated.device import emulated_rpc_server
from edgeml.runtime.emulated.machine import emulated_machine
from tests.edge_bench.devices.adb_device import SERIAL, attach_device
from tests.edge_bench.devices.conftest import SshDevice

pytestmark = [pytest.mark.slow, pytest.mark.torch]

NETWORK = "tinynet-r28-w0.35-d0.5-small"
SAMPLES = 24
QUICK = ["--samples", "6", "--launches", "2", "--seconds", "0.2", "--threads", "1", "--no-store", "--json"]


@pytest.fixture(autouse=True)
def own_directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Devices of this test alone."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def edgeml(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edgeml.cli.main", *map(str, arguments)], capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network as ONNX."""
    path = tmp_path_factory.mktemp("network") / "net.onnx"
    done = edgeml("export", NETWORK, "--output", path)
    assert done.returncode == 0, done.stderr
    return path


@pytest.fixture(scope="session")
def library(network: Path) -> Path:
    """The same for the ARM board that is emulated."""
    try:
        emulated_machine()
    except MissingError as error:
        pytest.skip(str(error))
    path = network.with_name("net.so")
    done = edgeml("compile", network, "--target", "rpi4", "--output", path)
    assert done.returncode == 0, done.stderr
    return path


def measured(model: Path, device: str) -> dict[str, Any]:
    """The one contender, after its accuracy was found to be the reference's sample by sample."""
    done = edgeml("bench", model, "--device", device, "--data", "digits:test", "--limit", str(SAMPLES), *QUICK)
    assert done.returncode == 0, done.stderr
    (contender,) = json.loads(done.stdout)["contenders"]
    assert contender["accuracy"]["samples"] == SAMPLES
    assert contender["accuracy"]["reference"]["differences"] == []
    assert contender["accuracy"]["reference"]["difference"] == 0
    return dict(contender)


def test_openssh(network: Path, start_openssh: Callable[..., SshDevice]) -> None:
    save_profile(replace(start_openssh().profile, name="board"))
    contender = measured(network, "board")
    assert contender["device"].startswith("ssh://")
    assert contender["latency_ms"]["samples"] == 6


def test_ssh_server_in_this_process(network: Path, ssh_device: SshDevice) -> None:
    save_profile(replace(ssh_device.profile, name="board"))
    assert measured(network, "board")["latency_ms"]["median"] > 0


def test_adb(network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = attach_device(tmp_path, monkeypatch)
    device = Device("adb", SERIAL)
    save_profile(DeviceProfile(name="phone", device=device, python=sys.executable, directory="~/edgeml"))
    assert measured(network, "phone")["latency_ms"]["median"] > 0
    assert not list((home / "home/edgeml").glob("run-*"))


@pytest.mark.tvm
@pytest.mark.qemu
def test_emulated_arm_over_rpc(library: Path) -> None:
    with emulated_rpc_server() as device:
        contender = measured(library, str(device))
    assert contender["runtime"] == "tvm"
    assert contender["latency_ms"]["samples"] == 6


@pytest.mark.tvm
@pytest.mark.qemu
def test_emulated_arm(library: Path) -> None:
    assert measured(library, "qemu://aarch64")["latency_ms"] is None
