"""Devices over TVM's RPC: who answers at an address, and work on a board behind an SSH tunnel."""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edgeml.core.artifact import Artifact
from edgeml.core.device import Device
from edgeml.core.errors import EdgeMLError, MissingError, UsageError
from edgeml.edge_bench.client import WorkerClient
from edgeml.edge_bench.devices import rpc
from edgeml.edge_bench.devices.check import check_device
from edgeml.edge_bench.devices.connect import connect
from edgeml.edge_bench.devices.profiles import DeviceProfile
from edgeml.edge_bench.devices.rpc import ask_server
from tests.edge_bench.devices.open_library import open_library
from tests.edge_bench.devices.ssh_servers import SSHD, device_at, make_keys, openssh_server

TIMEOUT_S = 120.0
REAL_SERVER = [sys.executable, "-m", "edgeml.runtime.emulated.rpc_server"]  # TVM's own, in a process we can end


def never(message: str) -> None:
    pytest.fail(message)


@pytest.fixture(autouse=True)
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@contextmanager
def server_that_answers(answer: bytes, asked: bytearray) -> Iterator[Device]:
    """A server that notes what it is asked, gives this answer and hangs up."""

    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            asked.extend(connection.recv(1000))
            connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        yield Device("rpc", "127.0.0.1", server.getsockname()[1])
        thread.join()


@contextmanager
def tvm_server() -> Iterator[Device]:
    """TVM's RPC server on this machine."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with subprocess.Popen(
        [*REAL_SERVER, str(port), "0", ""], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield Device("rpc", "127.0.0.1", json.loads(process.stdout.readline())["port"])
        finally:
            process.stdin.close()


@pytest.mark.parametrize(
    ("answer", "kind", "told"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", UsageError, "what listens there is not TVM's rpc_server"),
        (struct.pack("<i", 0x2F271), UsageError, "is not TVM's rpc_server"),  # a tracker
        (b"", MissingError, "closed without an answer"),
        (b"\x73", UsageError, "is not TVM's rpc_server"),
    ],
)
def test_what_is_no_tvm_server_is_told(answer: bytes, kind: type[EdgeMLError], told: str) -> None:
    with server_that_answers(answer, bytearray()) as device, pytest.raises(kind, match=told):
        ask_server(device, device)


def test_a_tracker_and_a_server_are_asked_each_in_its_own_words() -> None:
    asked = bytearray()
    with server_that_answers(struct.pack("<i", 0x2F271), asked) as device:
        tracker = Device("rpc-tracker", device.host, device.port, key="pi")
        ask_server(tracker, tracker)
    assert asked == struct.pack("<i", 0x2F271)


def test_nothing_and_a_busy_server_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody else gets it meanwhile
        device = Device("rpc", "127.0.0.1", taken.getsockname()[1])
        mend = rf"start there: python -m tvm\.exec\.rpc_server --host 127\.0\.0\.1 --port {device.port}"
        with pytest.raises(MissingError, match=mend), connect(device, note=never):
            pytest.fail("it was connected")
    monkeypatch.setattr(rpc, "_ANSWER_TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        device = Device("rpc", "127.0.0.1", silent.getsockname()[1])
        with pytest.raises(MissingError, match="takes one connection at a time and may be busy with another"):
            ask_server(device, device)


def test_an_address_that_others_reach_is_refused_before_anything_is_sent() -> None:
    device = Device.parse("rpc://192.0.2.1:9090")
    with pytest.raises(UsageError, match="plain text and gives whoever connects full control"), connect(device):
        pytest.fail("it was connected")


@pytest.mark.tvm
@pytest.mark.slow
@pytest.mark.skipif(not SSHD.exists(), reason="needs OpenSSH's server")
def test_a_model_is_timed_on_a_board_behind_a_tunnel(tvm_libraries: dict[str, Artifact], tmp_path: Path) -> None:
    artifact = tvm_libraries["net"]
    keys = make_keys(tmp_path / "keys")
    with tvm_server() as board, openssh_server(keys, tmp_path) as port:
        profile = DeviceProfile(
            name="board",
            device=board,
            through=device_at(port),
            identity_file=str(keys.identity),
            known_hosts=str(keys.write_known_hosts(port)),
        )
        ask_server(board, board)
        found = [(each.name, each.status) for each in check_device(profile, note=never)]
        assert found[:2] == [("tvm here", "ok"), ("tunnel", "ok")]
        assert found[-1] == ("reached", "ok")  # the server was not disturbed
        with connect(board, profile, note=never) as connection:
            assert (connection.device, connection.measures_latency) == (board, True)
            here = Device.parse(connection.worker_device)
            assert (here.scheme, here.host) == ("rpc", "127.0.0.1")
            assert here.port != board.port
            with WorkerClient(connection.start("net"), "net") as worker:
                open_library(worker, connection, artifact)
                latencies = worker.ask("sample", timeout_s=TIMEOUT_S, runs=4, settle=0)["latency_ns"]
                assert len(latencies) == 4
                assert all(each > 0 for each in latencies)
        assert here.port is not None
        with socket.socket() as gone:
            assert gone.connect_ex(("127.0.0.1", here.port)) != 0
    with (
        openssh_server(keys, tmp_path) as port,
        pytest.raises(MissingError, match="the tunnel stands, but nothing listens at its far end"),
        connect(
            board,
            DeviceProfile(
                name="board",
                device=board,
                through=device_at(port),
                identity_file=str(keys.identity),
                known_hosts=str(keys.write_known_hosts(port)),
            ),
        ),
    ):
        pytest.fail("it was connected")
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("edgeml ssh")]
