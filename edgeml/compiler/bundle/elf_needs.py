"""What a set of Linux libraries needs of the system they run on: the machine, and the oldest glibc and libstdc++."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from edgeml.core.errors import CheckFailedError, UsageError, needs_extra

_VERSION = re.compile(r"(GLIBC|GLIBCXX|CXXABI)_(\d+(?:\.\d+)*)")


@dataclass(frozen=True, kw_only=True)
class SystemNeeds:
    """The oldest system that has every versioned symbol the libraries refer to.

    Attributes:
        machine: the processor, by the name ELF gives it ("AArch64", "x64").
        glibc: version of the C library ("2.27"); None where none is needed.
        glibcxx: version of libstdc++'s symbols ("3.4.22").
        cxxabi: version of the C++ runtime's symbols ("1.3.11").
    """

    machine: str
    glibc: str | None
    glibcxx: str | None
    cxxabi: str | None

    def __str__(self) -> str:
        named = (("glibc", self.glibc), ("GLIBCXX", self.glibcxx), ("CXXABI", self.cxxabi))
        found = [f"{name} {version}" for name, version in named if version is not None]
        return f"{', '.join(found)} or newer" if found else "no particular version of glibc or libstdc++"


def system_needs(libraries: Iterable[Path]) -> SystemNeeds:
    """The needs of all the libraries together, read from their version tables (.gnu.version_r).

    Raises:
        UsageError: a file is no ELF library.
        CheckFailedError: the libraries are for different machines.
        MissingError: the tvm extra is not installed.
    """
    machines: dict[str, Path] = {}
    versions: dict[str, set[tuple[int, ...]]] = {}
    for path in libraries:
        machine, names = _read(path)
        machines.setdefault(machine, path)
        for name in names:
            if match := _VERSION.fullmatch(name):
                versions.setdefault(match[1], set()).add(tuple(map(int, match[2].split("."))))
    if len(machines) != 1:
        found = ", ".join(f"{path.name} for {machine}" for machine, path in machines.items())
        raise CheckFailedError(f"a bundle's libraries must be for one machine; these are {found or 'none'}")
    newest = {kind: ".".join(map(str, max(found))) for kind, found in versions.items()}
    return SystemNeeds(
        machine=next(iter(machines)),
        glibc=newest.get("GLIBC"),
        glibcxx=newest.get("GLIBCXX"),
        cxxabi=newest.get("CXXABI"),
    )


def _read(path: Path) -> tuple[str, list[str]]:
    """The machine of an ELF file and the names of all symbol versions it needs."""
    with needs_extra("tvm"):
        from elftools.common.exceptions import ELFError
        from elftools.elf.elffile import ELFFile
        from elftools.elf.gnuversions import GNUVerNeedSection
    try:
        with path.open("rb") as file:
            elf = ELFFile(file)
            tables = [section for section in elf.iter_sections() if isinstance(section, GNUVerNeedSection)]
            needed = [each.name for table in tables for _, versions in table.iter_versions() for each in versions]
            return elf.get_machine_arch(), needed
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from error
    except ELFError as error:
        raise UsageError(f"{path} is no Linux (ELF) library: bundles are made for Linux devices") from error
