"""The same against OpenSSH's own server, which nobody here has written."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from edgeml.core.errors import EdgeMLError, MissingError
from edgeml.edge_bench.devices.errors import DeviceLostError
from edgeml.edge_bench.devices.posix import PosixConnection
from edgeml.edge_bench.devices.ssh import SshShell
from tests.edge_bench.devices.conftest import SshDevice
from tests.edge_bench.devices.ssh_runs import TIMEOUT_S, connected, measure_over, open_worker
from tests.edge_bench.devices.ssh_servers import Link, litter

pytestmark = pytest.mark.slow

StartOpenSsh = Callable[..., SshDevice]


def test_a_worker_measures_over_openssh(
    start_openssh: StartOpenSsh, write_conv_net: Callable[..., Path], tmp_path: Path
) -> None:
    device = start_openssh()
    connection = connected(device)
    try:
        measure_over(connection, write_conv_net(), tmp_path)
        with pytest.raises(EdgeMLError, match=r"did not give .*: .*No such file"):
            connection.fetch(connection.scratch("nothing"), tmp_path / "nothing")
        with pytest.raises(EdgeMLError, match=r"did not take images\.npy: .*No space left on device"):
            connection._shell.push(tmp_path / "images.npy", "/dev/full")
        worker = open_worker(connection, write_conv_net())
        os.kill(int(next(device.directory.glob("run-*/worker-2.pid")).read_text()), 9)
        with pytest.raises(EdgeMLError, match="the worker was ended by SIGKILL"):
            worker.ask("sample", timeout_s=TIMEOUT_S, runs=1, settle=0)
        worker.close()
    finally:
        connection.close()
    assert litter(device.directory) == {"processes": [], "runs": []}


def test_a_link_to_openssh_that_is_cut_leaves_nothing(
    start_openssh: StartOpenSsh, write_conv_net: Callable[..., Path], link_to: Callable[[int], Link]
) -> None:
    device = start_openssh()
    link = link_to(device.port)
    profile = device.through(link)
    connection = PosixConnection(SshShell(profile), profile)
    worker = open_worker(connection, write_conv_net(size=64, channels=32, layers=4))
    threading.Timer(0.3, link.cut).start()
    with pytest.raises(DeviceLostError, match="was cut"):
        worker.ask("sample", timeout_s=TIMEOUT_S, runs=10_000_000, settle=0)
    worker.close()
    connection.close()


def test_a_coordinator_that_is_killed_leaves_nothing(start_openssh: StartOpenSsh) -> None:
    device = start_openssh()
    program = (
        "import sys, time\n"
        "from edgeml.core.device import Device\n"
        "from edgeml.edge_bench.devices.posix import PosixConnection\n"
        "from edgeml.edge_bench.devices.profiles import DeviceProfile\n"
        "from edgeml.edge_bench.devices.ssh import SshShell\n"
        "address, python, directory, identity, known = sys.argv[1:]\n"
        "profile = DeviceProfile(name=address, device=Device.parse(address), python=python, directory=directory,\n"
        "                        identity_file=identity, known_hosts=known)\n"
        "channel = PosixConnection(SshShell(profile), profile).start('m.onnx')\n"
        'channel.send(\'{"command": "memory"}\')\n'
        "channel.receive(60)\n"
        "print(flush=True)\n"
        "time.sleep(600)\n"
    )
    profile = device.profile
    arguments = [str(profile.device), profile.python, device.directory, profile.identity_file, profile.known_hosts]
    command = [sys.executable, "-c", program, *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as coordinator:
        assert coordinator.stdout is not None
        coordinator.stdout.readline()
        assert len(litter(device.directory)["processes"]) == 2
        coordinator.kill()


def test_more_workers_than_the_server_has_sessions(start_openssh: StartOpenSsh) -> None:
    connection = connected(start_openssh("MaxSessions 2"))
    try:
        with ExitStack() as stack:
            for _ in range(3):
                channel = connection.start("m.onnx")
                stack.callback(channel.close)
                channel.send('{"command": "memory"}')
                assert "peak_memory_bytes" in (channel.receive(TIMEOUT_S) or "")
        assert len(connection._shell._connections) > 1  # type: ignore[attr-defined]
    finally:
        connection.close()


def test_an_agents_key_is_enough(
    start_openssh: StartOpenSsh, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    device = start_openssh()
    with pytest.raises(MissingError, match="accepts none of the keys of your agent"):
        SshShell(device.changed(identity_file=None))
    socket = tmp_path_factory.mktemp("a") / "agent"
    with subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.PIPE) as agent:
        try:
            assert agent.stdout is not None
            agent.stdout.readline()  # it listens
            monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
            subprocess.run(["ssh-add", "-q", device.keys.identity], check=True, capture_output=True)
            SshShell(device.changed(identity_file=None)).close()
        finally:
            agent.terminate()


def test_the_scanned_host_key_is_the_mend(start_openssh: StartOpenSsh, home: Path) -> None:
    device = start_openssh()
    with pytest.raises(MissingError, match="ssh-keyscan -p") as caught:
        SshShell(device.changed(known_hosts=None))
    (home / ".ssh").mkdir()
    subprocess.run(str(caught.value).rpartition("with: ")[2], shell=True, check=True, capture_output=True)
    SshShell(device.changed(known_hosts=None)).close()
