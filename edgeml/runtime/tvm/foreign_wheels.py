"""Python packages for another machine: downloaded as wheels by pip, and unpacked without being run."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

from edgeml.core.artifact import sha256_file
from edgeml.core.errors import EdgeMLError, MissingError, UntrustedFileError

# Every wheel taken runs on glibc 2.28: Debian 10, Ubuntu 18.10 and what came after them.
_GLIBC_TAGS = (
    "manylinux_2_28",
    "manylinux_2_27",
    "manylinux_2_26",
    "manylinux_2_24",
    "manylinux_2_17",
    "manylinux2014",
)
_TIMEOUT_S = 900.0
_LINE_LIMIT = 300


@dataclass(frozen=True)
class Wheel:
    """A wheel that was unpacked.

    Attributes:
        file: its file name, which holds version and platform.
        sha256: hex digest of the file.
    """

    file: str
    sha256: str


def unpack_wheels(
    requirements: tuple[str, ...],
    directory: Path,
    *,
    machine: str,
    python: str,
    keep: Callable[[str], bool] = lambda _: True,
) -> tuple[Wheel, ...]:
    """Fetch wheels of exactly these packages (none they depend on), unpack them into `directory`, and tell which.

    Args:
        requirements: what pip takes, best with versions: ("numpy==2.2.0",).
        directory: where the packages' files go.
        machine: Linux's name of the processor ("aarch64").
        python: version of the Python that will import them ("3.11").
        keep: says by its name in the wheel whether a file is unpacked.

    Raises:
        MissingError: pip is not installed.
        EdgeMLError: pip found no such wheel or could not fetch it.
    """
    with tempfile.TemporaryDirectory(prefix="edgeml-wheels-") as downloads:
        _download(requirements, Path(downloads), machine, python)
        wheels = []
        for path in sorted(Path(downloads).glob("*.whl")):
            _unpack(path, directory, keep)
            wheels.append(Wheel(path.name, sha256_file(path)))
    return tuple(wheels)


def _download(requirements: tuple[str, ...], directory: Path, machine: str, python: str) -> None:
    if find_spec("pip") is None:
        raise MissingError(
            f"pip, which fetches packages for {machine}, is not installed: {sys.executable} -m ensurepip"
        )
    options = ["--only-binary=:all:", "--no-deps", "--quiet", "--disable-pip-version-check", "--no-input"]
    options += ["--implementation", "cp", "--python-version", python, "--dest", str(directory)]
    for abi in (f"cp{python.replace('.', '')}", "abi3", "none"):
        options += ["--abi", abi]
    for tag in _GLIBC_TAGS:
        options += ["--platform", f"{tag}_{machine}"]
    command = [sys.executable, "-m", "pip", "download", *options, *requirements]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise EdgeMLError(f"pip did not fetch {', '.join(requirements)} within {_TIMEOUT_S:.0f} s") from error
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
        reason = lines[-1] if lines else f"code {done.returncode}"
        raise EdgeMLError(
            f"pip cannot fetch {', '.join(requirements)} for {machine}: {reason[:_LINE_LIMIT]}; "
            "check the network or the package index that pip uses"
        )


def _unpack(path: Path, directory: Path, keep: Callable[[str], bool]) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                    raise UntrustedFileError(
                        f"{path.name} holds the path {name!r:.80}, which leads out of its directory"
                    )
                if keep(name):
                    archive.extract(name, directory)
    except (OSError, zipfile.BadZipFile) as error:
        raise EdgeMLError(f"cannot unpack {path.name} into {directory}: {error}") from error
