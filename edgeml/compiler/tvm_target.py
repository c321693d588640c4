"""Our Target in TVM's words."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from edgeml.core.target import PRESETS, Target

if TYPE_CHECKING:
    import tvm

# What every CUDA device of compute capability 5.0 and above offers a block, in TVM's terms.
_CUDA_LIMITS = {"max_threads_per_block": 1024, "max_shared_memory_per_block": 49152, "thread_warp_size": 32}


def tvm_target(target: Target) -> tvm.target.Target:
    """The tvm.target.Target of `target`; the processor edgeml runs on is filled in where the Target names none."""
    import tvm

    if target.kind == "cuda":
        host = tvm.target.Target(_processor(PRESETS[target.host]))
        return tvm.target.Target({"kind": "cuda", "arch": target.arch, **_CUDA_LIMITS}, host=host)
    return tvm.target.Target(_processor(target))


def _processor(target: Target) -> dict[str, Any]:
    from tvm.target import codegen

    values: dict[str, Any] = {"kind": "llvm", "num-cores": os.cpu_count() or 1}
    if target.triple:
        values["mtriple"] = target.triple
        if target.triple.startswith("arm") and target.triple.endswith("hf"):
            values["mfloat-abi"] = "hard"
    cpu = target.cpu or ("" if target.triple else codegen.llvm_get_system_cpu())
    if cpu:
        values["mcpu"] = cpu
    if target.features:
        values["mattr"] = list(target.features)
    return values
