"""Looks at a device from here: whether it is reached, what it is, and what a measurement on it would lack."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Generator
from contextlib import ExitStack, closing
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from edgeml.core.errors import EdgeMLError, MissingError
from edgeml.core.finding import Finding, find
from edgeml.edge_bench.client import WorkerClient
from edgeml.edge_bench.devices.connect import open_connection, open_shell
from edgeml.edge_bench.devices.connection import Connection
from edgeml.edge_bench.devices.local import LocalConnection
from edgeml.edge_bench.devices.lock import Note, measuring, note_on_stderr
from edgeml.edge_bench.devices.machine_findings import Run, machine_findings
from edgeml.edge_bench.devices.posix import PosixConnection
from edgeml.edge_bench.devices.profiles import DeviceProfile
from edgeml.edge_bench.devices.shell import Completed, Shell

_SCRIPT_TIMEOUT_S = 60.0
_WORKER_TIMEOUT_S = 120.0
_ROOM_BYTES = 256 << 20
_GIBI = 1 << 30
# Package -> what it is for. A worker needs numpy; the others are each for some of the models or measurements.
_PURPOSES = {
    "onnxruntime": "ONNX files",
    "onnx": "ONNX files with binary layers",
    "tvm_ffi": "compiled libraries",
    "mlperf_loadgen": "--scenario",
}
_DISTRIBUTIONS = {"tvm_ffi": "apache-tvm-ffi", "mlperf_loadgen": "mlcommons-loadgen"}


def check_device(profile: DeviceProfile, *, note: Note = note_on_stderr) -> Generator[Finding, None, None]:
    """What is found, one thing after the other as it is found.

    On a device that runs workers itself one is started for the test, which leaves edgeml's sources there for the
    measurements to come. The device's lock is held meanwhile.

    Args:
        profile: the device.
        note: told where a measurement on the device has to be waited for.

    Raises:
        EdgeMLError: the device is held by a measurement that does not end.
    """
    with measuring(profile.board, note=note):
        match profile.device.scheme:
            case "local":
                yield from _check_here(profile)
            case "ssh" | "adb":
                yield from _check_shell(profile)
            case "rpc" | "rpc-tracker":
                yield from _check_rpc(profile)
            case "qemu":
                yield from _check_emulated(profile)


def _check_here(_: DeviceProfile) -> Generator[Finding, None, None]:
    yield Finding("reached", "ok", "it is this machine")
    yield from _machine(_run_here)
    yield from _packages({name: _version(_DISTRIBUTIONS.get(name, name)) for name in _PURPOSES}, "python3")
    with closing(LocalConnection()) as connection:
        yield find("worker", partial(_start_worker, connection))


def _check_shell(profile: DeviceProfile) -> Generator[Finding, None, None]:
    with ExitStack() as stack:
        shells: list[Shell] = []
        yield find("reached", partial(_reach, profile, shells, stack))
        for shell in shells:
            yield from _machine(partial(shell.run, timeout_s=_SCRIPT_TIMEOUT_S))
            try:
                connection = stack.enter_context(closing(PosixConnection(shell, profile)))
            except MissingError as error:
                yield Finding("python", "absent", str(error))
            except EdgeMLError as error:
                yield Finding("directory", "failed", str(error))
            else:
                yield from _facts(connection, profile)
                yield find("worker", partial(_start_worker, connection))


def _check_rpc(profile: DeviceProfile) -> Generator[Finding, None, None]:
    yield find("tvm here", _tvm_here)
    if profile.through is None:
        detail = "TVM's RPC tells nothing of the board; name its ssh device with --through to have it looked at"
        yield Finding("machine", "skipped", detail, needed=False)
    else:
        with ExitStack() as stack:
            shells: list[Shell] = []
            yield find("tunnel", partial(_reach, profile.gate, shells, stack))
            for shell in shells:
                yield from _machine(partial(shell.run, timeout_s=_SCRIPT_TIMEOUT_S))
        if not shells:
            return
    yield find("reached", partial(_ask_server, profile))


def _check_emulated(profile: DeviceProfile) -> Generator[Finding, None, None]:
    with ExitStack() as stack:
        connections: list[Connection] = []

        def reach() -> str:
            connections.append(stack.enter_context(closing(open_connection(profile))))
            return "it is set up on this machine"

        yield find("reached", reach)
        detail = "not measured on it: it runs on this machine's processor; results are right, times mean nothing"
        yield Finding("latency", "skipped", detail, needed=False)
        for connection in connections:
            yield find("worker", partial(_start_worker, connection))


def _reach(profile: DeviceProfile, shells: list[Shell], stack: ExitStack) -> str:
    start = time.perf_counter()
    shells.append(stack.enter_context(closing(open_shell(profile))))
    return f"{profile.device} in {time.perf_counter() - start:.1f} s"


def _ask_server(profile: DeviceProfile) -> str:
    open_connection(profile).close()
    return "TVM's RPC tracker answers" if profile.device.scheme == "rpc-tracker" else "TVM's RPC server answers"


def _start_worker(connection: Connection) -> str:
    start = time.perf_counter()
    with WorkerClient(connection.start("worker"), "worker") as worker:
        worker.ask("memory", timeout_s=_WORKER_TIMEOUT_S)
    return f"starts and answers in {time.perf_counter() - start:.1f} s"


def _machine(run: Run) -> Generator[Finding, None, None]:
    try:
        yield from machine_findings(run)
    except EdgeMLError as error:
        yield Finding("machine", "failed", str(error), needed=False)


def _facts(connection: PosixConnection, profile: DeviceProfile) -> Generator[Finding, None, None]:
    """What the device's Python found there."""
    facts = connection.facts
    yield Finding("python", "ok", f"{facts.python} in {facts.executable}")
    yield Finding("numpy", "ok", str(facts.packages["numpy"]))
    yield from _packages({name: facts.packages.get(name) for name in _PURPOSES}, profile.python)
    detail = "sent from here; binary layers run at the speed of float ones" if connection.brings_worker else "its own"
    yield Finding("edgeml", "ok", detail, needed=False)
    room = f"{facts.free_bytes / _GIBI:.1f} GiB free in {facts.directory}"
    if facts.free_bytes < _ROOM_BYTES:
        room += "; models and data sets are kept there: free some, or name another directory with --directory"
    yield Finding("disk", "ok" if facts.free_bytes >= _ROOM_BYTES else "failed", room, needed=False)


def _packages(versions: dict[str, str | None], python: str) -> Generator[Finding, None, None]:
    """The packages by their version there; at least one runtime is needed."""
    none = versions["onnxruntime"] is None and versions["tvm_ffi"] is None
    for name, purpose in _PURPOSES.items():
        found = versions[name]
        if found is not None:
            yield Finding(name, "ok", found, needed=False)
            continue
        mend = f"{python} -m pip install {_DISTRIBUTIONS.get(name, name)}"
        detail = f"not installed, and needed for {purpose}; install it there with: {mend}"
        yield Finding(name, "absent", detail, needed=none and name == "onnxruntime")


def _run_here(script: str) -> Completed:
    try:
        done = subprocess.run(["sh", "-c", script], capture_output=True, timeout=_SCRIPT_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EdgeMLError(f"sh cannot be run: {error}") from error
    return Completed(code=done.returncode, stdout=done.stdout, stderr=done.stderr)


def _tvm_here() -> str:
    if find_spec("tvm") is None:
        raise MissingError("tvm is not installed on this machine; install it with: pip install 'edgeml[tvm]'")
    return version("apache-tvm")


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
