import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edgeml.core.errors import EdgeMLError, UsageError
from edgeml.edge_bench.client import WorkerClient
from edgeml.edge_bench.devices import posix
from edgeml.edge_bench.devices.channel import Channel
from edgeml.edge_bench.devices.posix import PosixConnection
from edgeml.edge_bench.devices.shell import Completed
from edgeml.edge_bench.devices.ssh import SshShell
from tests.edge_bench.devices.conftest import SshDevice
from tests.edge_bench.devices.ssh_runs import TIMEOUT_S, connected, measure_over, other_file
from tests.edge_bench.devices.ssh_servers import litter


def test_a_worker_on_a_device_measures_and_its_files_come_back(
    ssh_device: SshDevice, write_conv_net: Callable[..., Path], tmp_path: Path
) -> None:
    connection = connected(ssh_device)
    try:
        assert connection.worker_device == "local"
        assert connection.measures_latency
        assert connection.facts.directory == str(ssh_device.directory)
        assert abs(connection.facts.time_s - time.time()) < 60
        path = write_conv_net()
        measure_over(connection, path, tmp_path)
        there = Path(connection.put(path))
        assert there.read_bytes() == path.read_bytes()
        with pytest.raises(EdgeMLError, match=r"did not give .*nothing\.npy: .*No such file"):
            connection.fetch(connection.scratch("nothing.npy"), tmp_path / "nothing.npy")
        assert not (tmp_path / "nothing.npy").exists()
        with pytest.raises(UsageError, match="not a plain file name"):
            connection.scratch("../other")
    finally:
        connection.close()
    assert litter(ssh_device.directory) == {"processes": [], "runs": []}
    assert there.is_file()


def test_a_file_is_brought_once_for_each_content(ssh_device: SshDevice, tmp_path: Path) -> None:
    file = tmp_path / "a file's name.onnx"
    file.write_bytes(b"one")
    pushed: list[str] = []

    class Counting(SshShell):
        def push(self, local: Path, remote: str) -> None:
            pushed.append(local.name)
            super().push(local, remote)

    connection = PosixConnection(Counting(ssh_device.profile), ssh_device.profile)
    connection.put(file)
    connection.close()
    connection = PosixConnection(Counting(ssh_device.profile), ssh_device.profile)
    try:
        assert Path(connection.put(file)).read_bytes() == b"one"
        assert connection.put(file) == connection.put(file)
        assert pushed.count(file.name) == 1
        file.write_bytes(b"other")
        os.utime(file, ns=(1, 1))
        assert Path(connection.put(file)).read_bytes() == b"other"
        with pytest.raises(UsageError, match=r"cannot read .*absent\.onnx"):
            connection.put(tmp_path / "absent.onnx")
    finally:
        connection.close()
    assert pushed.count(file.name) == 2


def test_a_device_with_another_edgeml_gets_this_one(
    ssh_device: SshDevice, write_conv_net: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(posix, "worker_digest", lambda: "0" * 64)
    connection = connected(ssh_device)
    try:
        assert connection.brings_worker
        measure_over(connection, write_conv_net(), tmp_path)
    finally:
        connection.close()
    (place,) = ssh_device.directory.glob("worker-*")
    made = place.stat().st_ino
    connected(ssh_device).close()
    assert [path.stat().st_ino for path in ssh_device.directory.glob("worker-*")] == [made]


def test_what_a_shell_prints_at_its_start_is_not_taken_for_answers(ssh_device: SshDevice) -> None:
    class Talkative(SshShell):
        def run(self, script: str, *, stdin: bytes = b"", timeout_s: float) -> Completed:
            return super().run(f"echo welcome; {script}", stdin=stdin, timeout_s=timeout_s)

        def start(self, script: str) -> Channel:
            return super().start(f"echo welcome; {script}")

    connection = PosixConnection(Talkative(ssh_device.profile), ssh_device.profile)
    try:
        with WorkerClient(connection.start("net.onnx"), "net.onnx") as worker:
            assert worker.ask("memory", timeout_s=TIMEOUT_S)["peak_memory_bytes"] > 1 << 20
    finally:
        connection.close()


def test_the_home_directory_is_that_of_the_device(ssh_device: SshDevice, home: Path) -> None:
    connection = connected(ssh_device, directory="~/it's/edgeml")
    try:
        assert connection.facts.directory == str(home / "it's" / "edgeml")
        connection.put(other_file(home))
    finally:
        connection.close()
    assert not list((home / "it's" / "edgeml").glob("run-*"))


def test_a_port_is_led_to_one_that_the_device_reaches(ssh_device: SshDevice) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        shell = SshShell(ssh_device.profile)
        try:
            port = shell.forward("127.0.0.1", listener.getsockname()[1])
            with socket.create_connection(("127.0.0.1", port), timeout=10) as near:
                far, _ = listener.accept()
                with far:
                    near.sendall(b"ping")
                    assert far.recv(4) == b"ping"
        finally:
            shell.close()
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", port), timeout=10)
