"""The device qemu://aarch64: compiled models, and TVM's RPC server, on the emulated ARM machine."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import edgeml
from edgeml.core.artifact import Artifact
from edgeml.core.device import LOCAL, Device
from edgeml.core.errors import EdgeMLError, UsageError
from edgeml.core.session import SessionOptions
from edgeml.runtime.emulated.machine import EmulatedMachine, emulated_machine
from edgeml.runtime.process_session import ProcessSession
from edgeml.runtime.threads import available_threads
from edgeml.runtime.tvm.shared_library import check_library

# Emulated code runs some ten to fifty times slower than a board's.
_OPEN_TIMEOUT_S = 300.0
_RUN_TIMEOUT_S = 600.0
_SERVER_TIMEOUT_S = 120.0


def open_emulated(artifact: Artifact, device: Device, options: SessionOptions) -> ProcessSession:
    """Load a compiled library on the emulated machine, by the very code that opens it on a board.

    The emulated processor is the one the library is compiled for where QEMU knows it, so an instruction that the board
    does not have ends the run here as well.

    Raises:
        MissingError: the machine is not set up.
        UsageError: the library is for another kind of machine.
        CheckFailedError: the library is not the one its manifest was written for.
        EdgeMLError: the machine could not load it.
    """
    machine = emulated_machine()
    target = artifact.target
    if target is not None and target.kind != "llvm":
        raise UsageError(f"{artifact.path} is compiled for {target}; {device} has no GPU")
    check_library(artifact.path, machine.python)
    threads = available_threads() if options.threads is None else options.threads
    with _own_package() as packages:
        return ProcessSession(
            artifact,
            machine.python_command(
                "-m",
                "edgeml.runtime.session_server",
                cpu="" if target is None else target.cpu,
                environment={"PYTHONPATH": f"{machine.packages}{os.pathsep}{packages}"},
            ),
            device=device,
            opened_on=LOCAL,
            options=SessionOptions(threads=threads, optimize=options.optimize),
            environment={},
            open_timeout_s=_OPEN_TIMEOUT_S,
            run_timeout_s=_RUN_TIMEOUT_S,
        )


@contextmanager
def emulated_rpc_server(
    machine: EmulatedMachine | None = None, *, port: int = 9090, tracker_port: int | None = None, key: str = ""
) -> Iterator[Device]:
    """TVM's RPC server on the emulated machine while the block runs; yields the device to connect to.

    Args:
        machine: the machine; the user's by default.
        port: the first port tried; taken ones are passed over.
        tracker_port: port of a tracker on this machine to register with.
        key: the name to register under.

    Raises:
        MissingError: the machine is not set up.
        EdgeMLError: the server did not start.
    """
    machine = emulated_machine() if machine is None else machine
    with _own_package() as packages, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            machine.python_command(
                "-m",
                "edgeml.runtime.emulated.rpc_server",
                *map(str, (port, tracker_port or 0, key)),
                environment={"PYTHONPATH": f"{machine.packages}{os.pathsep}{packages}"},
            ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        timer = threading.Timer(_SERVER_TIMEOUT_S, process.kill)
        timer.start()
        try:
            line = process.stdout.readline()
            timer.cancel()
            if not line:
                process.wait()
                errors.seek(0)
                lines = errors.read().decode("utf-8", errors="replace").split("\n")
                last = next((each.strip() for each in reversed(lines) if each.strip()), "it printed nothing")
                raise EdgeMLError(f"TVM's RPC server did not start on the emulated device; its last line: {last:.300}")
            chosen = int(json.loads(line)["port"])
            if tracker_port is None:
                yield Device("rpc", "127.0.0.1", chosen)
            else:
                yield Device("rpc-tracker", "127.0.0.1", tracker_port, key=key)
        finally:
            timer.cancel()
            process.stdin.close()  # the server ends itself and its children when this closes
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()


@contextmanager
def _own_package() -> Iterator[Path]:
    """A directory in which the emulated Python finds this edgeml and none of the packages installed beside it.

    Those are for this machine's processor. It is needed while the program starts.
    """
    with tempfile.TemporaryDirectory(prefix="edgeml-") as directory:
        (Path(directory) / "edgeml").symlink_to(Path(edgeml.__file__).resolve().parent, target_is_directory=True)
        yield Path(directory)
