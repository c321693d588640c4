"""A device with a POSIX shell and Python, over whatever link brings commands and files there.

What lies there, in the profile's directory (by default ~/.cache/edgeml):

    run-NAME/        one run's own files; gone when it ends or the link is cut (see steward.py)
    files/SHA256/    models and samples, kept for later runs
    worker-SHA256/   edgeml's sources, where the device has not the very same installed
"""

from __future__ import annotations

import secrets
import shlex
import tempfile
import threading
from contextlib import suppress
from functools import partial
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from edgeml.core.atomic import atomic_write
from edgeml.core.device import Device
from edgeml.core.errors import EdgeMLError, MissingError, UsageError
from edgeml.edge_bench.devices import steward
from edgeml.edge_bench.devices.channel import Channel
from edgeml.edge_bench.devices.errors import DeviceLostError
from edgeml.edge_bench.devices.local import WORKER_ENVIRONMENT, plain_name
from edgeml.edge_bench.devices.shell import Completed, Shell, complaint
from edgeml.edge_bench.devices.stewardship import SILENCE_S, DeviceFacts, Stewardship
from edgeml.edge_bench.devices.worker_bundle import worker_bundle, worker_digest
from edgeml.edge_bench.devices.worker_channel import MarkedChannel

if TYPE_CHECKING:
    from edgeml.edge_bench.devices.profiles import DeviceProfile

PYTHON_FLOOR = (3, 10)
_SCRIPT_TIMEOUT_S = 60.0
_TELL_VERSION = "import sys; print('.'.join(map(str, sys.version_info[:3])))"  # in any Python
_COMMAND_NOT_FOUND = 127  # POSIX.1-2017, 2.8.2
_MEBI = 1 << 20


class PosixConnection:
    """Workers on a POSIX device.

    Attributes:
        device: where.
        measures_latency: True.
        worker_device: "local", since the workers run on the device itself.
        facts: what the device told of itself.
    """

    measures_latency: bool = True
    worker_device: str = "local"

    def __init__(self, shell: Shell, profile: DeviceProfile) -> None:
        """Begin a run on the device: make its directory, start its steward, bring the worker.

        Args:
            shell: the link, opened; it is closed with the connection, and when this fails.
            profile: of the device.

        Raises:
            DeviceLostError: the link is cut.
            MissingError: the device lacks Python, or numpy for it.
            EdgeMLError: its directory cannot be used.
        """
        self.device: Device = profile.device
        self._shell = shell
        self._profile = profile
        self._python = _shell_path(profile.python)
        self._channels: list[MarkedChannel] = []
        self._numbers = 0
        self._put: dict[Path, tuple[tuple[int, int], str]] = {}
        self._lock = threading.Lock()
        self._steward: Stewardship | None = None
        self._run: str | None = None
        try:
            self._run = self._make_run()
            self._steward = self._start_steward()
            self.facts: DeviceFacts = self._steward.first_words()
            self._check_facts()
            self._worker = self._bring_worker()
        except BaseException:
            self.close()
            raise

    @property
    def brings_worker(self) -> bool:
        """Whether edgeml's sources were sent, since the device's own are others; native kernels are not with them."""
        return self._worker is not None

    def start(self, label: str) -> Channel:  # noqa: ARG002 (the channel's owner names it)
        """Start a worker there."""
        with self._lock:
            self._numbers += 1
            number = self._numbers
        # What a library leaves in a temporary directory goes with the run, even where its worker is killed.
        environment = {"TMPDIR": self._own, **WORKER_ENVIRONMENT, **self._profile.environment}
        program = "-m edgeml.edge_bench.worker"
        if self._worker is not None:
            path = environment.get("PYTHONPATH")
            environment["PYTHONPATH"] = self._worker if path is None else f"{self._worker}:{path}"
            program = shlex.quote(self._worker)
        mark = secrets.token_hex(8)
        script = (
            f"echo {mark} && cd {shlex.quote(self._own)} && echo $$ > worker-{number}.pid && "
            f"exec env {_assignments(environment)} {self._python} {program}"
        )
        channel = MarkedChannel(self._shell.start(script), mark, partial(self._kill, number))
        with self._lock:
            self._channels.append(channel)
        return channel

    def put(self, path: Path) -> str:
        """Bring a file there, unless one of its content is there already."""
        try:
            status = path.stat()
            stamp = (status.st_size, status.st_mtime_ns)
            if path in self._put and self._put[path][0] == stamp:
                return self._put[path][1]
            digest = steward.sha256_of(path)
        except OSError as error:
            raise UsageError(f"cannot read {path}: {error.strerror or error}") from error
        place = f"files/{digest}/{plain_name(path.name)}"
        if not self._has(place, status.st_size, path.name):
            self._send(path, "adopt", digest, place)
        there = str(PurePosixPath(self.facts.directory) / place)
        self._put[path] = (stamp, there)
        return there

    def scratch(self, name: str) -> str:
        """A path in the run's directory there."""
        return f"{self._own}/scratch-{plain_name(name)}"

    def fetch(self, remote: str, local: Path) -> None:
        """Bring a scratch file here."""
        with atomic_write(local) as temporary:
            self._shell.pull(remote, temporary)

    def close(self) -> None:
        """End what runs there, remove the run's directory, let go of the link."""
        for channel in self._channels:
            channel.close(force=True)
        self._channels.clear()
        cleared = False
        if self._steward is not None:
            cleared = self._steward.end()
            self._steward = None
        if not cleared and self._run is not None:
            # Nobody there clears up; where the link is cut, the steward does, or the next run's.
            with suppress(EdgeMLError):
                self._shell.run(_clearing(self._run), timeout_s=_SCRIPT_TIMEOUT_S)
        self._run = None
        self._shell.close()

    @property
    def _own(self) -> str:
        assert self._run is not None
        return self._run

    @property
    def _stewardship(self) -> Stewardship:
        assert self._steward is not None
        return self._steward

    def _kill(self, number: int) -> None:
        with suppress(EdgeMLError):
            self._stewardship.ask("kill", worker=number)

    def _make_run(self) -> str:
        directory, name = self._profile.own_directory, f"run-{secrets.token_hex(8)}"
        self._check_python()
        done = self._shell.run(
            f"umask 077; mkdir -p {_shell_path(directory)} && cd {_shell_path(directory)} && mkdir {name} && pwd -P",
            timeout_s=_SCRIPT_TIMEOUT_S,
        )
        if done.code != 0 or not done.stdout:
            raise EdgeMLError(
                f"{self.device}: the directory {directory} cannot be used: {complaint(done)}; give the profile another "
                "one (directory)"
            )
        return f"{_last_line(done)}/{name}"

    def _check_python(self) -> None:
        python = self._profile.python
        mend = "install Python 3.10 or newer there, and name it in the profile (python)"
        done = self._shell.run(
            f"command -v {self._python} > /dev/null || exit {_COMMAND_NOT_FOUND}; "
            f"env {_assignments(self._profile.environment)} {self._python} -c {shlex.quote(_TELL_VERSION)}",
            timeout_s=_SCRIPT_TIMEOUT_S,
        )
        if done.code == _COMMAND_NOT_FOUND:
            raise MissingError(f"{self.device}: there is no {python}; {mend}")
        try:
            version = tuple(int(part) for part in _last_line(done).split("."))
        except ValueError:
            version = ()
        if done.code != 0 or not version:
            raise MissingError(f"{self.device}: {python} does not run: {complaint(done)}; {mend}")
        if version < PYTHON_FLOOR:
            raise MissingError(f"{self.device}: {python} is Python {_last_line(done)}; {mend}")

    def _start_steward(self) -> Stewardship:
        self._shell.push(Path(steward.__file__), f"{self._own}/steward.py")
        mark = secrets.token_hex(8)
        program = f"env {_assignments(self._profile.environment)} {self._python} steward.py {SILENCE_S}"
        channel = self._shell.start(f"echo {mark} && cd {shlex.quote(self._own)} && exec {program}")
        return Stewardship(self.device, MarkedChannel(channel, mark))

    def _check_facts(self) -> None:
        if self.facts.packages["numpy"] is None:
            raise MissingError(
                f"{self.device}: numpy is not installed for {self.facts.executable}; install what a worker needs there "
                f"with: {self._profile.python} -m pip install numpy onnxruntime"
            )

    def _bring_worker(self) -> str | None:
        """The directory of edgeml's sources there; None where the device's own are the same."""
        if self.facts.worker_digest == worker_digest():
            return None
        bundle = worker_bundle()
        place = f"worker-{sha256(bundle).hexdigest()}"
        if not self._has(place, 8 * len(bundle), "the worker"):
            with tempfile.NamedTemporaryFile(prefix="worker-") as file:
                file.write(bundle)
                file.flush()
                self._send(Path(file.name), "unpack", sha256(bundle).hexdigest(), place)
        return str(PurePosixPath(self.facts.directory) / place)

    def _has(self, place: str, size: int, name: str) -> bool:
        """Whether it is there; where not, there is room for it."""
        found = self._stewardship.ask("has", path=place)
        if not found["has"] and found["free_bytes"] < size:
            raise EdgeMLError(
                f"{self.device}: there is no room for {name} in {self.facts.directory}: {size / _MEBI:.1f} MiB are "
                f"needed, {found['free_bytes'] / _MEBI:.1f} MiB are free; free some, or give the profile another "
                "directory"
            )
        return bool(found["has"])

    def _send(self, local: Path, command: str, digest: str, place: str) -> None:
        incoming = f"incoming-{secrets.token_hex(8)}"
        try:
            self._shell.push(local, f"{self._own}/{incoming}")
            self._stewardship.ask(command, incoming=incoming, sha256=digest, path=place)
        except DeviceLostError:
            raise
        except EdgeMLError:
            with suppress(EdgeMLError):  # a full disk is not left full
                self._stewardship.ask("discard", incoming=incoming)
            raise


def _shell_path(path: str) -> str:
    """A path for a script; "~/" at its beginning is the home directory there."""
    return f'"$HOME"/{shlex.quote(path[2:])}' if path.startswith("~/") else shlex.quote(path)


def _last_line(done: Completed) -> str:
    """The last line that a script printed; a shell's start file may have printed before."""
    return next(reversed(done.stdout.decode("utf-8", errors="replace").splitlines()), "")


def _assignments(environment: dict[str, str]) -> str:
    return " ".join(f"{name}={shlex.quote(value)}" for name, value in environment.items())


def _clearing(run: str) -> str:
    """A script that ends the workers of a run and removes its directory, for want of a steward."""
    own = shlex.quote(run)
    return (
        f'for file in {own}/*.pid; do [ -f "$file" ] || continue; pid=$(cat "$file"); '
        f'[ "$(readlink /proc/$pid/cwd)" = {own} ] && kill -9 $pid; done; rm -rf {own}'
    )
