"""One measurement at a time on a device, over threads and processes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edgeml.core.device import LOCAL, Device
from edgeml.core.errors import EdgeMLError
from edgeml.edge_bench.devices.lock import measuring

PI = Device.parse("ssh://pi@raspberrypi.local")
HOLD = """
import sys
from edgeml.core.device import Device
from edgeml.edge_bench.devices.lock import measuring
with measuring(Device.parse(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "edgeml" / "locks"


@contextmanager
def held_by_another_process(device: Device) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(device)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def never(message: str) -> None:
    pytest.fail(f"there is nothing to wait for, but: {message}")


def test_who_measures_is_told_and_a_killed_process_holds_nothing() -> None:
    with held_by_another_process(PI) as other:
        refusal = rf"device ssh://pi@raspberrypi\.local is in use: process {other.pid} \(-c ssh://.*, since 20.*\)"
        with pytest.raises(EdgeMLError, match=refusal), measuring(PI, wait_s=0, note=never):
            pytest.fail("two measure at a time")
        with (
            measuring(Device("ssh", "other", user="pi"), wait_s=0, note=never),
            measuring(Device("qemu", "aarch64"), wait_s=0),
        ):
            pass
        other.kill()
        other.wait()
        with measuring(PI, wait_s=0, note=never), measuring(Device("qemu", "aarch64"), wait_s=0, note=never):
            pass


def test_a_measurement_waits_for_the_one_before_it_and_says_so_once() -> None:
    notes: list[str] = []
    noted = threading.Event()

    def note(message: str) -> None:
        notes.append(message)
        noted.set()

    order: list[str] = []

    def wait() -> None:
        with measuring(PI, note=note):
            order.append("second")

    thread = threading.Thread(target=wait)
    with measuring(PI, note=never):
        thread.start()
        assert noted.wait(60)
        order.append("first")
    thread.join(60)
    assert order == ["first", "second"]
    assert notes == [f"waiting for device {PI}, on which {notes[0].partition(' on which ')[2]}"]
    assert f"process {os.getpid()} (" in notes[0]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ssh://pi@board", "ssh://root@board:22"),
        ("rpc://localhost:9090", "rpc://127.0.0.1:9090"),
        ("rpc-tracker://127.0.0.1:9190/pi", "rpc-tracker://[::1]:9190/pi"),
        ("adb://10.0.0.7:5555", "adb://10.0.0.7:5555"),
    ],
)
def test_by_whatever_user_and_notation_it_is_the_same_board(cache: Path, one: str, other: str) -> None:
    with (
        measuring(Device.parse(one), note=never),
        pytest.raises(EdgeMLError, match="is in use"),
        measuring(Device.parse(other), wait_s=0),
    ):
        pytest.fail("two measure at a time")
    assert all(path.parent == cache for path in cache.rglob("*"))


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs processor affinity")
def test_runs_on_different_cores_of_this_machine_do_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    cores = {0, 1}
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: cores)
    with measuring(LOCAL, note=never):
        cores = {2}
        with measuring(LOCAL, wait_s=0, note=never):
            pass
        cores = {1, 2}
        with pytest.raises(EdgeMLError, match="device local is in use"), measuring(LOCAL, wait_s=0):
            pytest.fail("two measure at a time")
        cores = {2}
        with measuring(LOCAL, wait_s=0, note=never):  # what a refused one had taken already is free again
            pass


def test_without_a_place_for_locks_the_measurement_goes_on(tmp_path: Path) -> None:
    (tmp_path / "edgeml").write_text("a file in the way")
    with measuring(PI, wait_s=0, note=never):
        pass


def test_an_error_of_the_measurement_is_its_own_and_frees_the_device() -> None:
    with pytest.raises(OSError, match="mine"), measuring(PI, wait_s=0, note=never):
        raise OSError("mine")
    with measuring(PI, wait_s=0, note=never):
        pass
