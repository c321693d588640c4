"""Compiled models over TVM's RPC: addresses, and runs on the emulated device, directly and through a tracker."""

from __future__ import annotations

import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from edgeml.core.artifact import Artifact, sha256_file
from edgeml.core.device import Device
from edgeml.core.errors import CheckFailedError, EdgeMLError, MissingError, UsageError
from edgeml.core.session import SessionOptions
from edgeml.core.tensor_spec import TensorSpec
from edgeml.runtime.emulated.device import emulated_rpc_server
from edgeml.runtime.emulated.machine import EmulatedMachine
from edgeml.runtime.loopback import is_loopback
from edgeml.runtime.tvm import rpc as tvm_rpc
from edgeml.runtime.tvm.rpc import open_rpc
from tests.runtime.test_emulated_device import by_onnxruntime

pytestmark = pytest.mark.tvm

KEY = "arm"
TRACKER = """
import sys
sys.modules["torch"] = None
from tvm.rpc.tracker import PopenTrackerServerState
state = PopenTrackerServerState("127.0.0.1", 19190, 19290, silent=True)
print(state.port, flush=True)
state.thread.join()
"""


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    """A file that claims to be a library; no test gets as far as loading it."""
    path = tmp_path / "model.so"
    path.write_bytes(b"library")
    spec = TensorSpec("x", (1,), "float32")
    return Artifact(
        path=path,
        format="tvm",
        model="m",
        precision="fp32",
        inputs=(spec,),
        outputs=(spec,),
        sha256=sha256_file(path),
    )


def image(batch: int) -> npt.NDArray[np.float32]:
    return np.random.default_rng(batch).standard_normal((batch, 3, 16, 16)).astype(np.float32)


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.8.9.10", True),
        ("[::1]", True),
        ("10.0.0.1", False),
        ("0.0.0.0", False),
        ("pi", False),
        ("localhost.example", False),
        ("127.0.0.1.example", False),
        ("[2001:db8::1]", False),
    ],
)
def test_only_this_machines_own_addresses_count_as_such(host: str, own: bool) -> None:
    assert is_loopback(host) == own


@pytest.mark.parametrize("text", ["rpc://pi:9090", "rpc-tracker://192.168.1.5:9190/rpi4"])
def test_an_address_that_others_reach_is_refused_with_the_tunnel_to_use(text: str, artifact: Artifact) -> None:
    device = Device.parse(text)
    with pytest.raises(UsageError, match="plain text and gives whoever connects full control") as refused:
        open_rpc(artifact, device, SessionOptions())
    message = str(refused.value)
    assert f"ssh -N -L {device.port}:127.0.0.1:{device.port} USER@{device.host}" in message
    assert is_loopback(Device.parse(message.rpartition(" ")[2]).host)


def test_without_the_tvm_package_the_extra_is_named(artifact: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tvm_rpc, "find_spec", lambda _: None)
    with pytest.raises(MissingError, match=r"pip install 'edgeml\[tvm\]'"):
        open_rpc(artifact, Device.parse("rpc://127.0.0.1:9090"), SessionOptions())


def test_a_library_that_is_not_the_manifests_is_not_sent(artifact: Artifact) -> None:
    with pytest.raises(CheckFailedError, match="it was not sent"):
        open_rpc(replace(artifact, sha256="0" * 64), Device.parse("rpc://127.0.0.1:9090"), SessionOptions())


def test_a_port_where_nothing_listens_is_told_with_what_to_start(artifact: Artifact) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody else gets it meanwhile
        port = taken.getsockname()[1]
        with pytest.raises(MissingError, match=rf"python -m tvm\.exec\.rpc_server --host 127\.0\.0\.1 --port {port}"):
            open_rpc(artifact, Device("rpc", "127.0.0.1", port), SessionOptions())


def test_a_server_that_says_nothing_is_given_up(artifact: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tvm_rpc, "_OPEN_TIMEOUT_S", 4)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        device = Device("rpc", "127.0.0.1", silent.getsockname()[1])
        with pytest.raises(EdgeMLError, match="'open' was not finished within 4 s; it was stopped"):
            open_rpc(artifact, device, SessionOptions())


@contextmanager
def fake_tracker(answer: bytes) -> Iterator[Device]:
    """A tracker that gives every request this answer."""

    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            connection.sendall(connection.recv(4))
            connection.recv(1000)
            connection.sendall(struct.pack("<i", len(answer)) + answer)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        yield Device("rpc-tracker", "127.0.0.1", server.getsockname()[1], key=KEY)
        thread.join()


def test_a_server_that_a_tracker_names_must_be_this_machines_own(artifact: Artifact) -> None:
    with (
        fake_tracker(b'[0, ["10.1.2.3", 9090, "arm:1"]]') as device,
        pytest.raises(UsageError, match=r"the tracker names the server 10\.1\.2\.3:9090, .*--custom-addr 127\.0\.0\.1"),
    ):
        open_rpc(artifact, device, SessionOptions())


def test_a_tracker_that_refuses_is_told(artifact: Artifact) -> None:
    with fake_tracker(b'[-1, "no such key"]') as device, pytest.raises(EdgeMLError, match="refused: no such key"):
        open_rpc(artifact, device, SessionOptions())


@pytest.mark.qemu
@pytest.mark.slow
def test_a_model_runs_and_is_timed_on_the_device_and_nothing_stays_there(
    machine: EmulatedMachine, rpi4_libraries: dict[str, Artifact], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # where the server puts what it is sent
    artifact = rpi4_libraries["net"]
    with emulated_rpc_server(machine, port=19090) as device:
        for threads in (1, 2):
            session = open_rpc(artifact, device, SessionOptions(threads=threads))
            assert len(list(tmp_path.rglob(f"{artifact.sha256}.so"))) == 1
            for batch in (1, 3):
                found = session.run({"image": image(batch)})
                for one, other in zip(found.values(), by_onnxruntime(artifact.path, image(batch)), strict=True):
                    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
            latencies = session.device_latencies_ms({"image": image(1)}, 4)
            assert len(latencies) == 4
            assert all(each > 0 for each in latencies)
            with pytest.raises(UsageError, match="the model's inputs are image"):
                session.run({"x": image(1)})
            session.close()
            assert not list(tmp_path.rglob("*.so"))
        broken = tmp_path / "broken.so"
        broken.write_bytes(artifact.path.read_bytes()[:5000])
        with pytest.raises(EdgeMLError, match=r"broken\.so cannot be loaded on rpc://127\.0\.0\.1:\d+: "):
            open_rpc(replace(artifact.at(broken), sha256=sha256_file(broken)), device, SessionOptions())


@pytest.mark.qemu
@pytest.mark.slow
def test_a_device_is_found_through_a_tracker(machine: EmulatedMachine, rpi4_libraries: dict[str, Artifact]) -> None:
    pytest.importorskip("tornado")  # TVM's tracker needs it
    artifact = rpi4_libraries["net"]
    with subprocess.Popen([sys.executable, "-c", TRACKER], stdout=subprocess.PIPE, text=True) as tracker:
        assert tracker.stdout is not None
        port = int(tracker.stdout.readline())
        try:
            with emulated_rpc_server(machine, port=19090, tracker_port=port, key=KEY) as device:
                assert str(device) == f"rpc-tracker://127.0.0.1:{port}/{KEY}"
                for _ in range(2):  # the device is given back and can be had again
                    session = open_rpc(artifact, device, SessionOptions(threads=1))
                    found = session.run({"image": image(2)})["logits"]
                    session.close()
                    expected = by_onnxruntime(artifact.path, image(2))[0]
                    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
        finally:
            tracker.kill()
