"""What goes wrong between here and a device: told in one line, and nothing is left there."""

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from edgeml.core.errors import EdgeMLError, MissingError
from edgeml.edge_bench.devices import posix
from edgeml.edge_bench.devices.errors import DeviceLostError
from edgeml.edge_bench.devices.posix import PosixConnection
from edgeml.edge_bench.devices.ssh import SshShell
from tests.edge_bench.devices.conftest import SshDevice
from tests.edge_bench.devices.ssh_runs import TIMEOUT_S, connected, open_worker, other_file
from tests.edge_bench.devices.ssh_servers import Link, litter


def test_a_link_that_is_cut_is_told_of_and_the_device_clears_up(
    ssh_device: SshDevice, write_conv_net: Callable[..., Path], link_to: Callable[[int], Link], tmp_path: Path
) -> None:
    link = link_to(ssh_device.port)
    profile = ssh_device.through(link)
    connection = PosixConnection(SshShell(profile), profile)
    path = write_conv_net(size=64, channels=32, layers=4)
    worker = open_worker(connection, path)
    threading.Timer(0.3, link.cut).start()
    with pytest.raises(DeviceLostError, match=rf"the link to {profile.device} was cut"):
        worker.ask("sample", timeout_s=TIMEOUT_S, runs=10_000_000, settle=0)
    with pytest.raises(DeviceLostError, match="was cut"):
        connection.put(other_file(tmp_path))
    with pytest.raises(DeviceLostError, match="was cut"):
        connection.start("m.onnx")
    with pytest.raises(DeviceLostError, match="was cut"):
        connection.fetch(connection.scratch("x"), tmp_path / "x")
    worker.close()
    connection.close()


@pytest.mark.slow
def test_a_link_that_goes_dead_is_cleared_up_by_the_device_itself(
    ssh_device: SshDevice,
    write_conv_net: Callable[..., Path],
    link_to: Callable[[int], Link],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(posix, "SILENCE_S", 1.0)
    monkeypatch.setattr("edgeml.edge_bench.devices.stewardship.BEAT_S", 0.2)
    monkeypatch.setattr("edgeml.edge_bench.devices.ssh_login.KEEPALIVE_S", 0.5)
    link = link_to(ssh_device.port)
    profile = ssh_device.through(link)
    connection = PosixConnection(SshShell(profile), profile)
    worker = open_worker(connection, write_conv_net(size=64, channels=32, layers=4))
    time.sleep(1.2)  # the steward hears of us all the time
    assert litter(ssh_device.directory)["runs"]
    link.go_dead()
    with pytest.raises(DeviceLostError, match=r"was cut \(.*not responding to keepalive"):
        worker.ask("sample", timeout_s=TIMEOUT_S, runs=10_000_000, settle=0)
    worker.close()
    connection.close()


def test_a_worker_that_is_killed_names_the_signal_and_the_device_goes_on(
    ssh_device: SshDevice, write_conv_net: Callable[..., Path]
) -> None:
    connection = connected(ssh_device)
    try:
        path = write_conv_net()
        worker = open_worker(connection, path)
        pid = int(next(ssh_device.directory.glob("run-*/worker-1.pid")).read_text())
        os.kill(pid, 9)
        with pytest.raises(EdgeMLError, match=r"the worker was ended by SIGKILL .*want of memory") as caught:
            worker.ask("sample", timeout_s=TIMEOUT_S, runs=1, settle=0)
        assert not isinstance(caught.value, DeviceLostError)
        worker.close()
        with open_worker(connection, path) as another:
            assert another.ask("memory", timeout_s=TIMEOUT_S)["peak_memory_bytes"] > 1 << 20
    finally:
        connection.close()


def test_a_worker_that_hangs_is_ended_there(ssh_device: SshDevice, write_conv_net: Callable[..., Path]) -> None:
    connection = connected(ssh_device)
    try:
        worker = open_worker(connection, write_conv_net(size=64, channels=32, layers=4))
        pid = int(next(ssh_device.directory.glob("run-*/worker-1.pid")).read_text())
        with pytest.raises(EdgeMLError, match="did not finish 'sample' within 0 s"), worker:
            worker.ask("sample", timeout_s=0.3, runs=10_000_000, settle=0)
        assert pid not in litter(ssh_device.directory)["processes"]
    finally:
        connection.close()


def test_a_run_whose_steward_was_killed_is_cleared_up(
    ssh_device: SshDevice, write_conv_net: Callable[..., Path]
) -> None:
    connection = connected(ssh_device)
    worker = open_worker(connection, write_conv_net())
    os.kill(int(next(ssh_device.directory.glob("run-*/steward.pid")).read_text()), 9)
    with pytest.raises(EdgeMLError, match="the program that looks after the run was ended by SIGKILL"):
        connection.put(other_file(ssh_device.directory))
    worker.close()
    connection.close()
    assert litter(ssh_device.directory) == {"processes": [], "runs": []}


def test_what_a_run_left_behind_is_removed_by_the_next(ssh_device: SshDevice) -> None:
    dead = ssh_device.directory / "run-dead"
    dead.mkdir(parents=True)
    (dead / "steward.pid").write_text("999999999")
    young = ssh_device.directory / "run-young"
    young.mkdir()
    connection = connected(ssh_device)
    other = connected(ssh_device)
    try:
        assert not dead.exists()
        assert young.exists()
        assert len(list(ssh_device.directory.glob("run-*/steward.pid"))) == 2
    finally:
        connection.close()
        assert len(list(ssh_device.directory.glob("run-*/steward.pid"))) == 1
        other.close()
        young.rmdir()


def test_a_full_disk_is_told_of_before_and_after_the_transfer(ssh_device: SshDevice, tmp_path: Path) -> None:
    connection = connected(ssh_device)
    try:
        file = tmp_path / "large.onnx"
        with file.open("wb") as sparse:
            sparse.truncate(64 << 20)
        ask = connection._stewardship.ask

        def full(command: str, **arguments: object) -> dict[str, object]:
            return ask(command, **arguments) | ({"free_bytes": 1 << 20} if command == "has" else {})

        connection._stewardship.ask = full  # type: ignore[method-assign]
        with pytest.raises(EdgeMLError, match=r"no room for large\.onnx in .*: 64.0 MiB are needed, 1.0 MiB are free"):
            connection.put(file)
        connection._stewardship.ask = ask  # type: ignore[method-assign]
        with pytest.raises(EdgeMLError, match=r"did not take large\.onnx: .*No space left on device"):
            connection._shell.push(file, "/dev/full")
    finally:
        connection.close()


def test_a_file_that_arrives_damaged_is_refused(
    ssh_device: SshDevice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = connected(ssh_device)
    push = connection._shell.push

    def damaged(local: Path, remote: str) -> None:
        push(local, remote)
        with Path(remote).open("ab") as file:
            file.write(b"!")

    monkeypatch.setattr(connection._shell, "push", damaged)
    try:
        with pytest.raises(EdgeMLError, match="arrived damaged"):
            connection.put(other_file(tmp_path))
        assert not list(ssh_device.directory.glob("run-*/incoming-*"))
        assert not list(ssh_device.directory.glob("files/*/*"))
    finally:
        connection.close()


def test_a_device_without_what_a_worker_needs_is_told_of(ssh_device: SshDevice, tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"there is no /no/python; install Python 3\.10"):
        connected(ssh_device, python="/no/python")
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    bare.chmod(0o755)
    with pytest.raises(MissingError, match=r"numpy is not installed for .*-m pip install numpy onnxruntime"):
        connected(ssh_device, python=str(bare))
    for said, line in (
        ("echo 3.6.15", r"is Python 3\.6\.15; install Python 3\.10"),
        ("echo cannot load libpython >&2; exit 1", "does not run: cannot load libpython; install"),
        ("echo what", "does not run: code 0"),
    ):
        other = tmp_path / "other"
        other.write_text(f"#!/bin/sh\n{said}\n")
        other.chmod(0o755)
        with pytest.raises(MissingError, match=line):
            connected(ssh_device, python=str(other))


def test_a_directory_that_cannot_be_used_is_told_of(ssh_device: SshDevice) -> None:
    with pytest.raises(EdgeMLError, match=r"the directory /proc/edgeml cannot be used: mkdir: .*give the profile"):
        connected(ssh_device, directory="/proc/edgeml")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB."""
    path = tmp_path / "small"
    path.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", path], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("this user may not mount file systems")
    yield path
    subprocess.run(["umount", "--lazy", path], check=True)


@pytest.mark.slow
def test_a_disk_that_fills_up_is_told_of_and_not_left_full(
    ssh_device: SshDevice, small_disk: Path, write_conv_net: Callable[..., Path], tmp_path: Path
) -> None:
    connection = connected(ssh_device, directory=str(small_disk / "edgeml"))
    try:
        images = np.zeros((2000, 1, 8, 8), np.float32)
        np.save(tmp_path / "images.npy", images)
        (tmp_path / "large.onnx").write_bytes(bytes(16 << 20))
        with pytest.raises(
            EdgeMLError, match=r"no room for large\.onnx in .*: 16\.0 MiB are needed, \d\.\d MiB are free"
        ):
            connection.put(tmp_path / "large.onnx")
        with pytest.raises(EdgeMLError, match="No space left on device"):
            connection._send(tmp_path / "large.onnx", "adopt", "0" * 64, "files/0/large.onnx")
        assert not list(small_disk.glob("edgeml/run-*/incoming-*"))
        worker = open_worker(connection, write_conv_net(classes=1000), tmp_path / "images.npy")
        with pytest.raises(EdgeMLError, match=r"code 1; its last line: .*(No space|requested and)"):
            worker.ask(
                "predict",
                timeout_s=TIMEOUT_S,
                samples=connection.put(tmp_path / "images.npy"),
                output=connection.scratch("logits.npy"),
            )
        worker.close()
    finally:
        connection.close()
    assert litter(small_disk / "edgeml") == {"processes": [], "runs": []}
    (small_disk / "rest").write_bytes(bytes(8 << 20)[: shutil.disk_usage(small_disk).free])
    with pytest.raises(EdgeMLError, match="No space left on device"):
        connected(ssh_device, directory=str(small_disk / "edgeml"))
    assert litter(small_disk / "edgeml") == {"processes": [], "runs": []}
