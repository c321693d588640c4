"""Sets up the emulated ARM machine in the user's cache; run as `python -m edgeml.runtime.emulated.machine_setup`.

Debian's arm64 packages of Python are downloaded by an apt of its own, whose lists and whose idea of what is installed
lie in a temporary directory: nothing of this machine's package database changes, and no root is needed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from edgeml.core.atomic import atomic_write
from edgeml.core.errors import EdgeMLError, MissingError
from edgeml.runtime.emulated.machine import EmulatedMachine, emulated_machine, find_qemu, machine_directory
from edgeml.runtime.tvm.foreign_wheels import Wheel, unpack_wheels
from edgeml.runtime.tvm.target_libraries import tvm_versions

# apt finds what these need; libstdc++ is for the wheels.
_DEBIAN_PACKAGES = ("python3-minimal", "libpython3-stdlib", "libstdc++6")
_TIMEOUT_S = 900.0
_LINE_LIMIT = 300
# onnxruntime and others read the processor from here, and would take this machine's for their own.
_CPUINFO = """\
processor	: {index}
BogoMIPS	: 108.00
Features	: fp asimd evtstrm crc32 cpuid
CPU implementer	: 0x41
CPU architecture: 8
CPU variant	: 0x0
CPU part	: 0xd08
CPU revision	: 3

"""


def set_up_emulated_machine() -> EmulatedMachine:
    """The emulated machine, made first where it is not there yet.

    Raises:
        MissingError: a program that this needs is not installed.
        EdgeMLError: a download failed; nothing is left of it.
    """
    find_qemu()
    directory = machine_directory()
    if not directory.is_dir():
        for program in ("apt-get", "dpkg-deb"):
            if shutil.which(program) is None:
                raise MissingError(
                    f"{program} is not installed, and the emulated ARM device is made of Debian packages: "
                    "set it up on Debian or Ubuntu, or in a container of one"
                )
        _make(directory)
    return emulated_machine()


def _make(directory: Path) -> None:
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EdgeMLError(f"cannot write {directory}: {error.strerror or error}") from error
    try:
        with atomic_write(directory) as temporary:
            sysroot = temporary / "sysroot"
            sysroot.mkdir(parents=True)
            debs = _unpack_debian(sysroot, temporary / "apt")
            wheels = _unpack_python(sysroot)
            _pretend_hardware(sysroot)
            _prove(EmulatedMachine(sysroot, find_qemu()))
            record = {"debian": debs, "wheels": [asdict(wheel) for wheel in wheels]}
            (temporary / "machine.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    except EdgeMLError:
        if not directory.is_dir():  # else another process was first, with the same machine
            raise


def _unpack_debian(sysroot: Path, state: Path) -> list[str]:
    """Download the Debian packages and all they need, unpack them, and tell their files' names."""
    for part in ("lists/partial", "archives/partial"):
        (state / part).mkdir(parents=True)
    (state / "status").touch()
    settings = {
        "APT::Architecture": "arm64",
        "APT::Architectures": "arm64",
        "Dir::State": state,
        "Dir::State::lists": state / "lists",
        "Dir::State::status": state / "status",
        "Dir::Cache": state,
        "Dir::Cache::archives": state / "archives",
        "Acquire::Languages": "none",
        "APT::Sandbox::User": "",  # the unprivileged user that root's apt becomes may not write here
        "Debug::NoLocking": "1",
    }
    apt = [
        "apt-get",
        "--quiet",
        "--yes",
        *(part for key, value in settings.items() for part in ("-o", f"{key}={value}")),
    ]
    # A source without arm64 packages is an error to apt and none to us: what is missing is told by the next command.
    _run([*apt, "update"], check=False)
    _run([*apt, "--no-install-recommends", "--download-only", "install", *_DEBIAN_PACKAGES])
    packages = sorted((state / "archives").glob("*.deb"))
    for package in packages:
        _run(["dpkg-deb", "--extract", str(package), str(sysroot)])
    shutil.rmtree(state)
    for name in ("lib", "lib64"):  # where Debian keeps libraries in /usr alone, programs still ask for /lib
        if not (sysroot / name).exists() and (sysroot / "usr" / name).exists():
            (sysroot / name).symlink_to(Path("usr") / name)
    return [package.name for package in packages]


def _unpack_python(sysroot: Path) -> tuple[Wheel, ...]:
    """Unpack the Python packages that run a compiled model and serve TVM's RPC."""
    interpreter = (sysroot / "usr" / "bin" / "python3").readlink().name
    requirements = [f"{name}=={number}" for name, number in tvm_versions()]
    # The newest that Debian's Python takes, but none newer than what results are compared with here.
    requirements += [f"{name}<={version(name)}" for name in ("numpy", "ml_dtypes", "typing_extensions")]
    return unpack_wheels(
        tuple(requirements),
        sysroot / "site",
        machine="aarch64",
        python=interpreter.removeprefix("python"),
        keep=_is_kept,
    )


def _is_kept(name: str) -> bool:
    """All but the compiler and its sources, which are nine tenths of it."""
    return not name.startswith(("tvm/lib/libtvm_compiler", "tvm/3rdparty/", "tvm/src/", "tvm/include/"))


def _pretend_hardware(sysroot: Path) -> None:
    (sysroot / "proc").mkdir(exist_ok=True)
    text = "".join(_CPUINFO.format(index=index) for index in range(os.cpu_count() or 1))
    (sysroot / "proc" / "cpuinfo").write_text(text, encoding="utf-8")


def _prove(machine: EmulatedMachine) -> None:
    """Start the machine's Python once, with all that it is for; this leaves compiled modules for the starts to come."""
    printed = _run(machine.python_command("-c", "import platform, tvm.rpc.server; print(platform.machine())"))
    if printed.strip() != "aarch64":
        raise EdgeMLError(f"the emulated ARM device does not work: its Python printed {printed.strip()!r:.80}")


def _run(command: list[str], *, check: bool = True) -> str:
    name = Path(command[0]).name
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=_TIMEOUT_S, env=environment, check=False
        )
    except OSError as error:
        raise EdgeMLError(f"{command[0]} cannot be started: {error.strerror or error}") from error
    except subprocess.TimeoutExpired as error:
        raise EdgeMLError(f"{name} did not finish within {_TIMEOUT_S:.0f} s; it was stopped") from error
    if check and done.returncode != 0:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()] or ["it printed nothing"]
        reason = next((line for line in lines if line.startswith(("E:", "dpkg-deb: error"))), lines[-1])
        raise EdgeMLError(f"setting up the emulated ARM device: {name} failed: {reason[:_LINE_LIMIT]}")
    return done.stdout


def main() -> None:
    """Set the machine up and print where it lies."""
    try:
        machine = set_up_emulated_machine()
    except EdgeMLError as error:
        sys.stderr.write(f"edgeml: {error}\n")
        sys.exit(error.exit_code)
    sys.stdout.write(f"the emulated ARM device is ready: {machine.sysroot}\n")


if __name__ == "__main__":
    main()
