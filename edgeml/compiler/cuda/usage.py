"""What each GPU kernel takes of the chip, as CUDA's assembler tells it."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class CudaKernelUsage:
    """The resources of one GPU kernel.

    Attributes:
        name: the kernel's name.
        registers: registers of each thread.
        spill_stores_bytes: what each thread writes to memory because registers ran out.
        spill_loads_bytes: what it reads back.
        shared_bytes: shared memory of each block, as far as it is known before launch.
    """

    name: str
    registers: int
    spill_stores_bytes: int
    spill_loads_bytes: int
    shared_bytes: int


_ENTRY = re.compile(r"Compiling entry function '(\w+)' for")
_SPILLS = re.compile(r"(\d+) bytes spill stores, (\d+) bytes spill loads")
_USED = re.compile(r"Used (\d+) registers")
_SHARED = re.compile(r"(\d+) bytes smem")


def parse_ptxas(text: str) -> tuple[CudaKernelUsage, ...]:
    """The kernels' resources from what `ptxas -v` prints, by name.

    Functions that are no kernels (they are compiled into those that call them) are left out.
    """
    found = {}
    for part in re.split(r"(?=Compiling entry function)", text)[1:]:
        name, spills, used, shared = (each.search(part) for each in (_ENTRY, _SPILLS, _USED, _SHARED))
        if name and spills and used:
            found[name[1]] = CudaKernelUsage(
                name=name[1],
                registers=int(used[1]),
                spill_stores_bytes=int(spills[1]),
                spill_loads_bytes=int(spills[2]),
                shared_bytes=int(shared[1]) if shared else 0,
            )
    return tuple(found[name] for name in sorted(found))
