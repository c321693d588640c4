"""The shell of an adb device, against a stand-in for adb that keeps to its exit codes and messages."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from edgeml.core.device import Device
from edgeml.core.errors import EdgeMLError, MissingError
from edgeml.edge_bench.devices.adb import AdbShell
from edgeml.edge_bench.devices.errors import DeviceLostError
from tests.edge_bench.devices.adb_device import SERIAL, attach_device

DEVICE = Device("adb", SERIAL)
TIMEOUT_S = 30.0


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return attach_device(tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("script", "code", "stdout", "stderr"),
    [
        ("echo $DEVICE", 0, b"yes\n", b""),
        ("cat; echo heard >&2; exit 3", 3, b"a\0b\xff\n", b"heard\n"),
        ("echo 'it''s' \"$((1 + 1))\"\nfalse", 1, b"its 2\n", b""),
        ("kill -9 $$", 137, b"", b"Killed"),
        ("no-such-program", 127, b"", b"not found"),
        ("if", 2, b"", b"yntax"),
        ("printf 'adb: device not found' >&2; exit 255", 255, b"", b"adb: device not found"),
    ],
)
def test_a_script_runs_there_and_its_code_and_both_outputs_come_back(
    home: Path, script: str, code: int, stdout: bytes, stderr: bytes
) -> None:
    done = AdbShell(DEVICE).run(script, stdin=b"a\0b\xff\n", timeout_s=TIMEOUT_S)
    assert (done.code, done.stdout) == (code, stdout)
    assert stderr in done.stderr
    assert b"edgeml-" not in done.stderr
    calls = (home / "calls").read_text().splitlines()
    assert all(call.startswith(f"-s {SERIAL} ") for call in calls if call not in {"devices", "start-server"})


def test_a_program_talks_in_lines_and_ends_with_its_stdin(home: Path) -> None:
    channel = AdbShell(DEVICE).start('while read line; do echo "heard $line"; done; echo bye >&2; exit 5')
    channel.send("one")
    assert channel.receive(TIMEOUT_S) == "heard one"
    with pytest.raises(TimeoutError):
        channel.receive(0.01)
    channel.close()
    channel.close()

    channel = AdbShell(DEVICE).start("echo 'no memory' >&2; kill -9 $$")
    assert channel.receive(TIMEOUT_S) is None
    assert channel.receive(TIMEOUT_S) is None
    assert not channel.lost
    assert channel.ended_because().startswith("the worker was ended by SIGKILL (the kernel may have ended it for want")
    channel.close()

    channel = AdbShell(DEVICE).start("echo last words >&2; exit 5")
    assert channel.receive(TIMEOUT_S) is None
    assert channel.ended_because() == "the worker ended with code 5; its last line: last words"
    channel.close()


def test_an_unplugged_device_is_told_from_a_program_that_ended(home: Path, tmp_path: Path) -> None:
    shell = AdbShell(DEVICE)
    channel = shell.start("echo $$; exec cat")
    pid = channel.receive(TIMEOUT_S)
    (home / "unplugged").touch()
    assert channel.receive(TIMEOUT_S) is None
    assert channel.lost
    assert channel.ended_because().startswith(f"the link to adb://{SERIAL} was cut; adb says: ")
    channel.close()
    for _ in range(100):
        if not Path(f"/proc/{pid}").exists():
            break
        time.sleep(0.05)
    assert not Path(f"/proc/{pid}").exists()
    lost = rf"the link to adb://{SERIAL} was cut; adb says: adb: device '{SERIAL}' not found"
    with pytest.raises(DeviceLostError, match=lost):
        shell.run("true", timeout_s=TIMEOUT_S)
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(DeviceLostError, match=lost):
        shell.push(tmp_path / "file", str(home / "home/file"))
    with pytest.raises(DeviceLostError, match=lost):
        shell.pull(str(home / "home/file"), tmp_path / "file")
    with pytest.raises(MissingError, match=r"is not attached \(adb sees none\); plug it in"):
        AdbShell(DEVICE)


def test_a_command_that_hangs_is_given_up(home: Path) -> None:
    with pytest.raises(DeviceLostError, match="did not finish a command within 0 s: sleep 60"):
        AdbShell(DEVICE).run("sleep 60", timeout_s=0.3)


def test_files_go_there_and_come_back_and_a_refusal_is_told(home: Path, tmp_path: Path) -> None:
    shell = AdbShell(DEVICE)
    content = bytes(range(256)) * 100
    (tmp_path / "it's a model.onnx").write_bytes(content)
    remote = str(home / "home/a directory/model.onnx")
    shell.push(tmp_path / "it's a model.onnx", remote)
    assert Path(remote).read_bytes() == content
    shell.pull(remote, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == content
    with pytest.raises(EdgeMLError, match=r"cannot read /no/such on adb://\w+: .*No such file or directory"):
        shell.pull("/no/such", tmp_path / "other")
    (home / "full").touch()
    with pytest.raises(EdgeMLError, match=r"cannot write .*: adb: error: .*No space left on device"):
        shell.push(tmp_path / "back", remote)
    (home / "full").unlink()
    with pytest.raises(EdgeMLError, match=r"cannot write /proc/x on .*: remote couldn't create file"):
        shell.push(tmp_path / "back", "/proc/x")


@pytest.mark.parametrize(
    ("serial", "listed", "told"),
    [
        (SERIAL, f"{SERIAL}\tunauthorized", "is unauthorized: accept this computer's key on the device's screen"),
        (SERIAL, f"{SERIAL}\toffline", f"adb -s {SERIAL} reconnect"),
        (SERIAL, f"{SERIAL}\tno permissions (user is not in the plugdev group); see [http://x]", "adb kill-server"),
        (SERIAL, "emulator-5554\tdevice", r"is not attached \(adb sees emulator-5554\); plug it in"),
        ("10.0.0.7:5555", "emulator-5554\tdevice", r"connect it with: adb connect 10\.0\.0\.7:5555"),
        (SERIAL, f"{SERIAL}\tsomething new", "is something new: see `adb devices -l`"),
    ],
)
def test_a_device_that_cannot_be_used_is_told_with_the_mend(home: Path, serial: str, listed: str, told: str) -> None:
    (home / "devices").write_text(listed + "\n")
    with pytest.raises(MissingError, match=told):
        AdbShell(Device("adb", serial))


def test_an_old_device_and_a_missing_adb_are_told(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "features").write_text("cmd\n")
    with pytest.raises(EdgeMLError, match="it takes Android 7 or newer"):
        AdbShell(DEVICE)
    monkeypatch.setenv("PATH", str(home))
    with pytest.raises(MissingError, match="adb, which reaches adb:// devices, is not installed: "):
        AdbShell(DEVICE)
