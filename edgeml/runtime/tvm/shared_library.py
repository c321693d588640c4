"""Looks at a shared library's header before the loader does, to tell a library for another machine in one line."""

from __future__ import annotations

import struct
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from edgeml.core.errors import UsageError

_SHARED_OBJECT = 3
# By file class (1: 32 bits, 2: 64 bits), what follows the 20 bytes common to both in the file's header, up to the
# number of program headers; then offset and size in the file, which each program header gives for its segment.
_HEADERS = {1: "IIIIIHHH", 2: "IQQQIHHH"}
_SEGMENTS = {1: "4xI8xI", 2: "8xQ16xQ"}
_COMMON = "16sHH"
# e_machine of the ELF specification, by the names that Linux gives its ports.
_MACHINES = {3: "i386", 40: "arm", 62: "x86-64", 183: "aarch64", 243: "riscv64"}


@dataclass(frozen=True)
class ElfHeader:
    """What the first bytes of an ELF file say of where it can run.

    Attributes:
        bits: 32 or 64.
        little_endian: order of bytes.
        machine: the processor family ("x86-64", "aarch64", "arm").
        is_library: whether it is a shared object, as libraries are.
        size_bytes: least size of a file that holds all its segments.
    """

    bits: int
    little_endian: bool
    machine: str
    is_library: bool
    size_bytes: int

    def __str__(self) -> str:
        return f"{self.machine} ({self.bits} bits, {'little' if self.little_endian else 'big'}-endian)"


def read_elf_header(path: Path) -> ElfHeader | None:
    """The header of an ELF file; None where the file is none, or ends in the middle of its header.

    Raises:
        UsageError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return _parse(file)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from error
    except struct.error:
        return None


def _parse(file: BinaryIO) -> ElfHeader | None:
    identity = file.read(16)
    if len(identity) < 16 or identity[:4] != b"\x7fELF" or identity[4] not in _HEADERS or identity[5] not in {1, 2}:
        return None
    bits, order = identity[4], "<" if identity[5] == 1 else ">"
    header = order + _COMMON + _HEADERS[bits]
    fields = struct.unpack(header, identity + file.read(struct.calcsize(header) - len(identity)))
    kind, machine, start, entry_bytes, entries = fields[1], fields[2], fields[5], fields[9], fields[10]
    segment = order + _SEGMENTS[bits]
    end = 0
    for index in range(entries):
        file.seek(start + index * entry_bytes)
        offset, size = struct.unpack(segment, file.read(struct.calcsize(segment)))
        end = max(end, offset + size)
    name = _MACHINES.get(machine, f"machine {machine}")
    return ElfHeader(32 * bits, identity[5] == 1, name, kind == _SHARED_OBJECT, end)


def check_library(path: Path, program: Path | None = None) -> None:
    """Refuse what this process cannot load, by the header alone: nothing of the library is executed.

    Args:
        path: the library.
        program: the program that would load it; the running Python by default. Only on systems whose programs are ELF
            files is anything checked.

    Raises:
        UsageError: it is no shared library, or one for another kind of machine.
    """
    own = read_elf_header(Path(sys.executable).resolve() if program is None else program)
    if own is None:
        return
    found = read_elf_header(path)
    if found is None or not found.is_library:
        raise UsageError(f"{path} is no shared library (ELF), so it is not what a manifest of format tvm describes")
    if path.stat().st_size < found.size_bytes:  # loading it would end the process
        raise UsageError(f"{path} is cut off: it has {path.stat().st_size} bytes of {found.size_bytes}")
    if (found.bits, found.little_endian, found.machine) != (own.bits, own.little_endian, own.machine):
        raise UsageError(
            f"{path} is a library for {found}; this Python runs on {own}: copy it to such a device, or compile the "
            "model again with --target host"
        )
