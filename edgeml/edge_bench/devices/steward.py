"""The program that looks after one run on a device: it keeps the device's files, and clears up when the link is cut.

It is sent to the device alone, before anything else, so it needs the standard library only. Run as
`python steward.py SILENCE_S` in the run's own directory (DIRECTORY/run-NAME), it prints what it knows of the device as
one line of JSON, then obeys commands, one JSON object a line:

    alive                             no answer: the coordinator is still there
    has      path                     -> has, free_bytes; the file is marked as used
    adopt    incoming, sha256, path   -> path: checks a file sent to the run's directory and moves it to its place
    unpack   incoming, sha256, path   -> path: the same with the directory in a .tar.gz
    discard  incoming                 removes what was sent
    kill     worker                   ends the worker of that number by force
    end                               -> nothing, and the program ends

Paths go out absolute and come in relative to DIRECTORY, `incoming` relative to the run's directory. An answer is
{"ok": {...}} or {"error": message}. When the program ends, by command or for want of a word from the coordinator for
SILENCE_S seconds (stdin is closed, or the link just went dead), it kills every process whose working directory is the
run's, and removes that directory.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import select
import shutil
import signal
import sys
import tarfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

PARTS = ("core", "ops", "runtime", "edge_bench")
"""The packages in edgeml that a worker needs."""

UNUSED_S = 30 * 86400.0
"""Files and workers that no run has used for so long are removed."""

_PID_FILE = "steward.pid"
_YOUNG_S = 600.0
_PACKAGES = {
    "edgeml": "edgeml",
    "numpy": "numpy",
    "onnxruntime": "onnxruntime",
    "onnx": "onnx",
    "scipy": "scipy",
    "tvm_ffi": "apache-tvm-ffi",
    "mlperf_loadgen": "mlcommons-loadgen",
}


def sources(package: Path) -> list[str]:
    """The files of a directory `edgeml` that a worker needs, relative to it, in order."""
    found = ["__init__.py"]
    for part in PARTS:
        found += [path.relative_to(package).as_posix() for path in (package / part).rglob("*.py")]
    return sorted(found)


def digest(package: Path) -> str:
    """SHA-256 over the names and contents of those files."""
    total = hashlib.sha256()
    for name in sources(package):
        total.update(name.encode() + b"\0" + hashlib.sha256((package / name).read_bytes()).digest())
    return total.hexdigest()


def sha256_of(path: Path) -> str:
    """SHA-256 of a file."""
    total = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            total.update(block)
    return total.hexdigest()


class Steward:
    """Looks after the run whose directory this is."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self.directory = run.parent
        (run / _PID_FILE).write_text(str(os.getpid()))

    def facts(self) -> dict[str, Any]:
        """What this device is and has."""
        own = importlib.util.find_spec("edgeml")
        root = None if own is None or own.origin is None else Path(own.origin).parent
        return {
            "python": platform.python_version(),
            "executable": sys.executable,
            "machine": platform.machine(),
            "system": f"{platform.system()} {platform.release()}",
            "packages": {name: _version(name, distribution) for name, distribution in _PACKAGES.items()},
            "worker_digest": None if root is None else digest(root),
            "directory": str(self.directory),
            "free_bytes": self._free_bytes(),
            "cores": os.cpu_count(),
            "time_s": time.time(),
        }

    def has(self, path: str) -> dict[str, Any]:
        """Whether a file is there."""
        place = self.directory / path
        found = place.exists()
        if found:
            # Its directory by the content's hash is what `tidy` looks at.
            os.utime(self.directory / Path(path).parts[0] / Path(path).parts[1] if "/" in path else place)
        return {"has": found, "free_bytes": self._free_bytes()}

    def adopt(self, incoming: str, sha256: str, path: str) -> dict[str, Any]:
        """Give a file its place, whole or not at all."""
        sent, place = self._checked(incoming, sha256), self.directory / path
        place.parent.mkdir(parents=True, exist_ok=True)
        sent.replace(place)
        return {"path": str(place)}

    def unpack(self, incoming: str, sha256: str, path: str) -> dict[str, Any]:
        """Give a packed directory its place, whole or not at all."""
        sent, place = self._checked(incoming, sha256), self.directory / path
        fresh = self.run / (incoming + ".unpacked")
        with tarfile.open(sent) as archive:
            if hasattr(tarfile, "data_filter"):
                archive.extractall(fresh, filter="data")
            else:
                archive.extractall(fresh)  # noqa: S202 (of known hash: it is edgeml's own)
        sent.unlink()
        if not place.is_dir():
            with suppress(OSError):  # another run was as fast
                fresh.rename(place)
        return {"path": str(place)}

    def discard(self, incoming: str) -> dict[str, Any]:
        """Remove what was sent and is of no use."""
        with suppress(FileNotFoundError):
            (self.run / incoming).unlink()
        return {}

    def kill(self, worker: int) -> dict[str, Any]:
        """End a worker, if it still runs."""
        with suppress(OSError, ValueError):
            pid = int((self.run / f"worker-{worker}.pid").read_text())
            if _works_in(pid, self.run) is not False:
                os.kill(pid, signal.SIGKILL)
        return {}

    def tidy(self) -> None:
        """Remove what runs left behind whose steward is no more, and what was not used for long."""
        for run in self.directory.glob("run-*"):
            if run != self.run and not _is_looked_after(run):
                clear(run)
        for place in [*self.directory.glob("worker-*"), *self.directory.glob("files/*")]:
            with suppress(OSError):
                if time.time() - place.stat().st_mtime > UNUSED_S:
                    shutil.rmtree(place, ignore_errors=True)

    def _checked(self, incoming: str, sha256: str) -> Path:
        sent = self.run / incoming
        found = sha256_of(sent)
        if found != sha256:
            sent.unlink()
            raise ValueError(f"the file arrived damaged: its SHA-256 is {found}, not {sha256}")
        return sent

    def _free_bytes(self) -> int:
        space = os.statvfs(str(self.directory))
        return space.f_bavail * space.f_frsize


def clear(run: Path) -> None:
    """Kill what works in a run's directory, but for this process, and remove it."""
    pids = [int(entry.name) for entry in Path("/proc").glob("[0-9]*")]
    for path in run.glob("worker-*.pid"):  # where there is no /proc
        with suppress(OSError, ValueError):
            pids.append(int(path.read_text()))
    for pid in pids:
        works = _works_in(pid, run)
        if pid != os.getpid() and (works or (works is None and not Path("/proc/self").exists())):
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
    for _ in range(10):  # a process that is being killed may still make a file
        shutil.rmtree(run, ignore_errors=True)
        if not run.exists():
            return
        time.sleep(0.1)


def serve(steward: Steward, silence_s: float) -> None:
    """Obey commands from stdin until "end", its end, or silence."""
    commands = {name: getattr(steward, name) for name in ("has", "adopt", "unpack", "discard", "kill")}
    waiting = b""
    while True:
        line, separator, rest = waiting.partition(b"\n")
        if not separator:
            ready, _, _ = select.select([0], [], [], silence_s)
            read = os.read(0, 1 << 16) if ready else b""
            if not read:
                return
            waiting += read
            continue
        waiting = rest
        request = json.loads(line.decode("utf-8"))
        command = request.pop("command")
        if command == "alive":
            continue
        if command == "end":
            return
        try:
            _say({"ok": commands[command](**request)})
        except (OSError, ValueError, tarfile.TarError) as error:
            _say({"error": getattr(error, "strerror", None) or str(error)})


def main() -> None:
    """Look after the run whose directory this is."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda _number, _frame: sys.exit(0))
    run = Path.cwd()
    ended = False
    try:
        steward = Steward(run)
        steward.tidy()
        _say(steward.facts())
        serve(steward, float(sys.argv[1]))
        ended = True
    finally:
        clear(run)
        if ended:
            with suppress(OSError):
                _say({"ok": {}})


def _is_looked_after(run: Path) -> bool:
    try:
        pid = int((run / _PID_FILE).read_text())
    except (OSError, ValueError):
        try:  # its steward may be about to start
            return time.time() - run.stat().st_mtime < _YOUNG_S
        except OSError:
            return True
    return _works_in(pid, run) is not False and _is_alive(pid)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _works_in(pid: int, run: Path) -> bool | None:
    """Whether a process's working directory is the run's; None where that is not told."""
    try:
        return os.readlink(f"/proc/{pid}/cwd").partition(" (deleted)")[0] == str(run)  # noqa: PTH115
    except OSError:
        return None


def _version(name: str, distribution: str) -> str | None:
    """The version of an installed package, None where it is not installed."""
    if importlib.util.find_spec(name) is None:
        return None
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "installed"


def _say(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
