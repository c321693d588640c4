"""Reads from a compiled library which GPU machine code it really holds (a fatbin is NVIDIA's container of it)."""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

from edgeml.core.errors import CheckFailedError, UsageError
from edgeml.core.target import Target

MAGIC = bytes.fromhex("50ed55ba")

# The container's header: magic, version, its own size, size of all entries. Each entry's header: kind, version, its own
# size, size of the content, then at fixed places minor, major and the architecture as a number (87 for sm_87).
_HEADER = struct.Struct("<4sHHQ")
_ENTRY = struct.Struct("<HHIQ12xI")
_MACHINE_CODE = 2  # the other kind, 1, is PTX: text that the driver would still have to compile


def architectures(path: Path) -> frozenset[str]:
    """The GPU architectures ("sm_87") whose machine code lies in the file; empty where it holds none.

    Raises:
        UsageError: the file cannot be read.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            found: set[str] = set()
            position = data.find(MAGIC)
            while position >= 0:
                found |= _architectures_at(data, position)
                position = data.find(MAGIC, position + len(MAGIC))
            return frozenset(found)
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read {path}: {error}") from error


def _architectures_at(data: mmap.mmap, position: int) -> set[str]:
    """Architectures of the fatbin at `position`; none where the bytes there are no whole fatbin."""
    if position + _HEADER.size > len(data):
        return set()
    _, version, header_size, size = _HEADER.unpack_from(data, position)
    entry, end = position + header_size, position + header_size + size
    if version != 1 or header_size != _HEADER.size or end > len(data):
        return set()
    found = set()
    while entry + _ENTRY.size <= end:
        kind, _, entry_size, content_size, architecture = _ENTRY.unpack_from(data, entry)
        if entry_size < _ENTRY.size or entry + entry_size + content_size > end:
            return set()
        if kind == _MACHINE_CODE and content_size:
            found.add(f"sm_{architecture}")
        entry += entry_size + content_size
    return found


def check_library(path: Path, target: Target) -> None:
    """Check that the compiled library holds machine code of the target's GPU.

    Raises:
        CheckFailedError: it holds none (CUDA source only, which a device without nvcc cannot run), or another GPU's.
    """
    found = architectures(path)
    if not found:
        raise CheckFailedError(
            f"{path} holds no GPU machine code, at most CUDA source: TVM's CUDA runtime was not loaded while it was "
            f"compiled; `edgeml doctor --target '{target}'` says what is missing"
        )
    # sm_90a is code for sm_90 with the features of that very chip; the container stores the number alone.
    if target.arch.rstrip("af") not in found:
        raise CheckFailedError(f"{path} holds machine code for {', '.join(sorted(found))}; {target.arch} was asked for")
