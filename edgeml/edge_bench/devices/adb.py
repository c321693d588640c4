"""A device over the Android Debug Bridge: a phone, or a Linux board whose USB port speaks it.

The program `adb` of Android's platform tools does the talking. Two things of it decide how it is used here. Its shell
protocol v2 (Android 7; `shell_protocol.h` in packages/modules/adb of the Android sources) carries exit codes and keeps
stderr apart; a device without it is refused. And its exit code does not tell whether the device's program or adb itself
failed, so every script ends by printing a mark of its own: where the mark is absent, the link was cut.
"""

from __future__ import annotations

import secrets
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from edgeml.core.device import Device
from edgeml.core.errors import EdgeMLError, MissingError
from edgeml.core.system_packages import install_command
from edgeml.edge_bench.devices.channel import Channel
from edgeml.edge_bench.devices.ending import shell_ending
from edgeml.edge_bench.devices.errors import DeviceLostError
from edgeml.edge_bench.devices.local import LocalChannel
from edgeml.edge_bench.devices.shell import Completed

_ANSWER_TIMEOUT_S = 30.0
_COPY_TIMEOUT_S = 3600.0
_LINE_LIMIT = 300
_MENDS = {
    "unauthorized": "accept this computer's key on the device's screen, and run again",
    "authorizing": "accept this computer's key on the device's screen, and run again",
    "offline": "plug it in again, or run: adb -s {serial} reconnect",
    "no permissions": "let this user use it, by the rules of Android's udev package, and run: adb kill-server",
    "recovery": "start its system: adb -s {serial} reboot",
    "sideload": "start its system: adb -s {serial} reboot",
    "bootloader": "start its system: fastboot -s {serial} reboot",
}


class AdbShell:
    """The shell of a device that adb sees; a `Shell`."""

    def __init__(self, device: Device) -> None:
        """Look whether the device is there.

        Args:
            device: adb://serial; the serial is as `adb devices` lists it, host:port for one on the network.

        Raises:
            MissingError: adb is not installed, or the device is not attached or does not let this computer in.
            EdgeMLError: adb does not work, or the device is older than Android 7.
        """
        self._device = device
        self._adb = _find_adb()
        self._check_state()
        if "shell_v2" not in self._answer("-s", device.host, "features").split():
            raise EdgeMLError(
                f"device {device} does not speak adb's shell protocol v2, without which exit codes are lost; it takes "
                "Android 7 or newer, and adb 1.0.36 or newer here"
            )

    def run(self, script: str, *, stdin: bytes = b"", timeout_s: float) -> Completed:
        """Run a script to its end."""
        mark = _mark()
        try:
            done = subprocess.run(
                self._shell_command(script, mark), input=stdin, capture_output=True, timeout=timeout_s, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise DeviceLostError(
                f"device {self._device} did not finish a command within {timeout_s:.0f} s: {_first_line(script)}"
            ) from error
        code, stderr = _read_mark(done.stderr, mark)
        if code is None:
            raise DeviceLostError(f"the link to {self._device} was cut; adb says: {_last_line(stderr)}")
        return Completed(code=code, stdout=done.stdout, stderr=stderr)

    def start(self, script: str) -> Channel:
        """Start a script whose stdin and stdout are lines."""
        mark = _mark()
        return _AdbChannel(self._shell_command(script, mark), mark, self._device)

    def push(self, local: Path, remote: str) -> None:
        """Copy a file of this machine to the device."""
        self._copy(["push", str(local.absolute()), remote], f"cannot write {remote}")

    def pull(self, remote: str, local: Path) -> None:
        """Copy a file of the device to this machine."""
        self._copy(["pull", remote, str(local.absolute())], f"cannot read {remote}")

    def close(self) -> None:
        """Nothing to let go of: adb's server keeps the link."""

    def _shell_command(self, script: str, mark: str) -> list[str]:
        # A shell of its own, so that neither `exit` nor a mistake in the script keeps the mark from being printed.
        wrapped = f"sh -c {shlex.quote(script)}; code=$?; echo {mark}$code >&2; exit $code"
        return [str(self._adb), "-s", self._device.host, "shell", "-T", wrapped]

    def _copy(self, arguments: Sequence[str], failure: str) -> None:
        done = self._call(["-s", self._device.host, *arguments], _COPY_TIMEOUT_S)
        if done.returncode == 0:
            return
        said = _last_line(done.stderr if done.stderr.strip() else done.stdout)
        if self._states().get(self._device.host) != "device":
            raise DeviceLostError(f"the link to {self._device} was cut; adb says: {said}")
        raise EdgeMLError(f"{failure} on {self._device}: {said}")

    def _check_state(self) -> None:
        serial = self._device.host
        states = self._states()
        state = states.get(serial)
        if state == "device":
            return
        if state is None:
            seen = f"adb sees {', '.join(states)}" if states else "adb sees none"
            mend = (
                f"connect it with: adb connect {serial}"
                if ":" in serial
                else "plug it in and allow USB debugging in its developer options"
            )
            raise MissingError(f"device {self._device} is not attached ({seen}); {mend}")
        mend = next((text for start, text in _MENDS.items() if state.startswith(start)), "see `adb devices -l`")
        raise MissingError(f"device {self._device} is {state:.80}: {mend.format(serial=serial)}")

    def _states(self) -> dict[str, str]:
        """The state of every device that adb sees, by serial."""
        # adb's first call starts its server, which would hold these pipes open; so the server is started without any.
        self._call(["start-server"], _ANSWER_TIMEOUT_S, quiet=True)
        lines = self._answer("devices").splitlines()
        pairs = (line.split("\t", 1) for line in lines if "\t" in line)
        return {serial: state.strip() for serial, state in pairs}

    def _answer(self, *arguments: str) -> str:
        done = self._call(arguments, _ANSWER_TIMEOUT_S)
        if done.returncode != 0:
            raise EdgeMLError(f"`adb {' '.join(arguments)}` failed: {_last_line(done.stderr)}")
        return done.stdout.decode("utf-8", errors="replace")

    def _call(
        self, arguments: Sequence[str], timeout_s: float, *, quiet: bool = False
    ) -> subprocess.CompletedProcess[bytes]:
        output = subprocess.DEVNULL if quiet else subprocess.PIPE
        try:
            return subprocess.run(
                [str(self._adb), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise DeviceLostError(
                f"`adb {' '.join(arguments)}` did not answer within {timeout_s:.0f} s; try: adb kill-server"
            ) from error
        except OSError as error:
            raise EdgeMLError(f"{self._adb} cannot be started: {error.strerror or error}") from error


class _AdbChannel:
    """A program on the device, through an adb that runs as a child process here."""

    def __init__(self, command: Sequence[str], mark: str, device: Device) -> None:
        self._channel = LocalChannel(command, {})
        self._mark = mark
        self._device = device

    @property
    def lost(self) -> bool:
        """Whether adb ended before the program did; known once `receive` gave None."""
        self._channel.exit_code()
        return _read_mark(self._channel.last_words(), self._mark)[0] is None

    def send(self, line: str) -> None:
        """Hand the program a line."""
        self._channel.send(line)

    def receive(self, timeout_s: float) -> str | None:
        """The program's next line, None where it ended or the link is cut."""
        return self._channel.receive(timeout_s)

    def ended_because(self) -> str:
        """How the program ended and its last line, or that the link was cut."""
        self._channel.exit_code()
        code, stderr = _read_mark(self._channel.last_words(), self._mark)
        if code is None:
            return f"the link to {self._device} was cut; adb says: {_last_line(stderr)}"
        return shell_ending(code, stderr)

    def close(self, *, force: bool = False) -> None:
        """Close the program's stdin, which ends it, and then adb; by force, adb at once."""
        self._channel.close(force=force)


def _find_adb() -> Path:
    if found := shutil.which("adb"):
        return Path(found)
    mend = install_command(
        {"debian": "adb", "fedora": "android-tools", "arch": "android-tools"},
        otherwise="install Android's platform tools and put them on the PATH",
    )
    raise MissingError(f"adb, which reaches adb:// devices, is not installed: {mend}")


def _mark() -> str:
    return f"edgeml-{secrets.token_hex(8)}-ended-"


def _read_mark(stderr: bytes, mark: str) -> tuple[int | None, bytes]:
    """The script's exit code, None where its mark is absent, and what it complained before."""
    before, found, after = stderr.rpartition(mark.encode())
    digits = after.strip()
    if not found or not digits.isdigit():
        return None, stderr
    return int(digits), before


def _last_line(text: bytes) -> str:
    lines = text.decode("utf-8", errors="replace").splitlines()
    return next((line.strip()[:_LINE_LIMIT] for line in reversed(lines) if line.strip()), "nothing")


def _first_line(script: str) -> str:
    return script.strip().splitlines()[0][:_LINE_LIMIT] if script.strip() else "nothing"
