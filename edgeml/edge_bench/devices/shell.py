"""How commands and files reach a POSIX device (over SSH, adb): what a `PosixConnection` stands on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edgeml.edge_bench.devices.channel import Channel


@dataclass(frozen=True, kw_only=True)
class Completed:
    """What a script left behind.

    Attributes:
        code: exit code of the shell; 128 + n where a signal n ended the script's last command.
        stdout: all it printed.
        stderr: all it complained.
    """

    code: int
    stdout: bytes
    stderr: bytes


class Shell(Protocol):
    """A device's /bin/sh. Paths are absolute there."""

    def run(self, script: str, *, stdin: bytes = b"", timeout_s: float) -> Completed:
        """Run a script of the POSIX shell to its end.

        Args:
            script: it may hold several lines.
            stdin: what the script reads.
            timeout_s: how long it may take.

        Raises:
            DeviceLostError: the link is cut, or nothing came back in time.
        """
        ...

    def start(self, script: str) -> Channel:
        """Start a script whose stdin and stdout are lines.

        Raises:
            DeviceLostError: the link is cut.
        """
        ...

    def push(self, local: Path, remote: str) -> None:
        """Copy a file of this machine to the device.

        Raises:
            DeviceLostError: the link is cut.
            EdgeMLError: the device refused it (no space, no permission); a part of the file may lie there.
        """
        ...

    def pull(self, remote: str, local: Path) -> None:
        """Copy a file of the device to this machine.

        Raises:
            DeviceLostError: the link is cut.
            EdgeMLError: the device has no such file; a part of the file may lie here.
        """
        ...

    def close(self) -> None:
        """Let go of the link; programs that were started over it end."""
        ...


def complaint(done: Completed) -> str:
    """The last line that a failed script complained, else its code."""
    lines = [line.strip() for line in done.stderr.decode("utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else f"code {done.code}"
