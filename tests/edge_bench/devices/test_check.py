"""What is told of a device before anything is measured on it."""

from __future__ import annotations

import platform
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgeml.core.device import LOCAL, Device
from edgeml.core.errors import EdgeMLError, MissingError
from edgeml.core.finding import Finding, raise_for
from edgeml.edge_bench.devices import check
from edgeml.edge_bench.devices.check import check_device
from edgeml.edge_bench.devices.machine_findings import machine_findings
from edgeml.edge_bench.devices.profiles import DeviceProfile
from edgeml.edge_bench.devices.shell import Completed
from tests.edge_bench.devices.adb_device import SERIAL, attach_device

PHONE = Device("adb", SERIAL)
BOARD = {
    "machine": "aarch64",
    "system": "Linux 6.6.20-v8",
    "model": "Raspberry Pi 4 Model B Rev 1.4",
    "cores": "4",
    "memory": "3884496",
    "governors": "ondemand",
    "frequencies": "600000 1500000",
    "told": "0",
    "temperatures": "41868 52500",
}


@pytest.fixture(autouse=True)
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def told_by(**changes: str) -> dict[str, Finding]:
    """What is found on a board that answers so; its clock is right unless `off` tells by how many seconds it is not."""
    off = int(changes.pop("off", "0"))

    def run(script: str) -> Completed:
        mark = script.split("echo ", 1)[1].split(";", 1)[0]
        lines = [f"{key}={value}" for key, value in ({"now": str(int(time.time()) + off)} | BOARD | changes).items()]
        return Completed(code=0, stdout="\n".join(["Welcome!", mark, *lines, ""]).encode(), stderr=b"")

    return {finding.name: finding for finding in machine_findings(run)}


def test_a_board_is_described() -> None:
    found = told_by()
    assert {finding.status for finding in found.values()} == {"ok"}
    assert not any(finding.needed for finding in found.values())
    assert found["machine"].detail == "Raspberry Pi 4 Model B Rev 1.4, aarch64, Linux 6.6.20-v8"
    assert found["cores"].detail == "4, 3.7 GiB of memory"
    assert found["governor"].detail.startswith("ondemand; figures scatter less with: echo performance | sudo tee ")
    assert found["frequency"].detail == "600 to 1,500 MHz now"
    assert found["temperature"].detail == "52 degrees Celsius, the hottest of 2 zones"
    assert found["clock"].detail.startswith("agrees with this machine's within ")


@pytest.mark.parametrize(
    ("changes", "name", "status", "detail"),
    [
        ({"governors": "performance"}, "governor", "ok", "performance"),
        ({"governors": ""}, "governor", "skipped", "the system tells of none, as virtual machines do"),
        ({"frequencies": "1800000 1800000"}, "frequency", "ok", "1,800 MHz now"),
        ({"frequencies": "", "told": "4"}, "frequency", "ok", "read from /proc/cpuinfo"),
        ({"frequencies": ""}, "frequency", "skipped", "not told, so throttling shows in latencies alone"),
        ({"temperatures": "-273200 x"}, "temperature", "ok", "-273 degrees Celsius, the hottest of 1 zones"),
        ({"temperatures": ""}, "temperature", "skipped", "not told, so heat is not seen beside throttling"),
        ({"cores": ""}, "cores", "skipped", "the system does not tell them"),
        ({"now": "Sat"}, "clock", "skipped", "the system does not tell the time"),
    ],
)
def test_what_a_board_does_not_tell_is_said(changes: dict[str, str], name: str, status: str, detail: str) -> None:
    found = told_by(**changes)[name]
    assert (found.status, found.detail) == (status, detail)


@pytest.mark.parametrize(
    ("off", "status", "told"),
    [(30, "ok", "s ahead"), (-3600, "failed", "s behind; set it"), (86400, "failed", "s ahead; set it")],
)
def test_a_clock_that_is_off_is_told(off: int, status: str, told: str) -> None:
    clock = told_by(off=str(off))["clock"]
    assert clock.status == status
    assert told in clock.detail
    assert abs(int(clock.detail.split(" ", 1)[0].replace(",", "")) - abs(off)) <= 2


def test_a_hot_board_is_told_to_cool_down_first() -> None:
    assert told_by(temperatures="79000")["temperature"].detail.endswith("; let it cool down first, or give it a fan")


@pytest.mark.parametrize("shell", ["sh", "dash", "bash --posix", "busybox sh"])
def test_the_script_runs_in_any_posix_shell(shell: str) -> None:
    def run(script: str) -> Completed:
        try:
            done = subprocess.run([*shell.split(), "-c", script], capture_output=True, check=False)
        except FileNotFoundError:
            pytest.skip(f"{shell} is not installed")
        return Completed(code=done.returncode, stdout=done.stdout, stderr=done.stderr)

    found = {finding.name: finding for finding in machine_findings(run)}
    assert platform.machine() in found["machine"].detail
    assert found["cores"].status == found["clock"].status == "ok"


def test_a_device_without_a_posix_shell_is_told() -> None:
    with pytest.raises(EdgeMLError, match="its shell does not run POSIX scripts"):
        machine_findings(lambda _: Completed(code=1, stdout=b"'echo' is not recognized", stderr=b""))


def test_an_adb_device_is_looked_at_and_a_worker_proven_on_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = attach_device(tmp_path, monkeypatch)
    profile = DeviceProfile(name="phone", device=PHONE, python=sys.executable, directory="~/edgeml")
    found = {finding.name: finding for finding in check_device(profile)}
    of_the_board = ["machine", "cores", "governor", "frequency", "temperature", "clock"]
    of_python = ["python", "numpy", "onnxruntime", "onnx", "tvm_ffi", "mlperf_loadgen", "edgeml", "disk", "worker"]
    assert list(found) == ["reached", *of_the_board, *of_python]
    assert not [finding for finding in found.values() if finding.needed and finding.status != "ok"]
    assert found["python"].detail == f"{platform.python_version()} in {sys.executable}"
    assert found["worker"].detail.startswith("starts and answers in ")
    assert list((home / "home/edgeml").glob("run-*")) == []


def test_what_is_missing_on_a_device_ends_the_list_with_its_mend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = attach_device(tmp_path, monkeypatch)
    absent = DeviceProfile(name="phone", device=PHONE, python="no-such-python", directory="~/edgeml")
    found = list(check_device(absent))
    assert (found[-1].name, found[-1].needed) == ("python", True)
    assert "no-such-python" in found[-1].detail
    with pytest.raises(MissingError, match="phone is not ready: python: "):
        raise_for(tuple(found), "phone is not ready")
    (home / "home/file").write_text("in the way")
    blocked = DeviceProfile(name="phone", device=PHONE, python=sys.executable, directory="~/file/edgeml")
    assert [(each.name, each.status) for each in check_device(blocked)][-1] == ("directory", "failed")
    (home / "unplugged").touch()
    found = list(check_device(absent))
    assert [(each.name, each.status) for each in found] == [("reached", "absent")]


def test_packages_that_only_some_measurements_need_are_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "_version", {"onnxruntime": "1.20.0"}.get)
    found = {finding.name: finding for finding in check_device(DeviceProfile(name="local", device=LOCAL))}
    assert found["tvm_ffi"].status == "absent"
    assert "needed for compiled libraries; install it there with: python3 -m pip install apache-tvm-ffi" in (
        found["tvm_ffi"].detail
    )
    raise_for(tuple(found.values()), "local")
    monkeypatch.setattr(check, "_version", lambda _: None)
    with pytest.raises(MissingError, match="onnxruntime: not installed, and needed for ONNX files"):
        raise_for(tuple(check_device(DeviceProfile(name="local", device=LOCAL))), "local")


def test_a_device_over_rpc_tells_nothing_of_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "_tvm_here", lambda: "0.27")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody else gets it meanwhile
        device = Device("rpc", "127.0.0.1", taken.getsockname()[1])
        found = list(check_device(DeviceProfile(name="board", device=device)))
    assert [(each.name, each.status) for each in found] == [
        ("tvm here", "ok"),
        ("machine", "skipped"),
        ("reached", "absent"),
    ]


def test_a_check_that_is_left_in_the_middle_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = attach_device(tmp_path, monkeypatch)
    profile = DeviceProfile(name="phone", device=PHONE, python=sys.executable, directory="~/edgeml")
    findings = check_device(profile)
    while next(findings).name != "python":
        pass
    assert len(list((home / "home/edgeml").glob("run-*"))) == 1
    findings.close()
    assert list((home / "home/edgeml").glob("run-*")) == []
