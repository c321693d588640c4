"""What the kernels must know of a processor's vector unit: how many lanes, how many registers, which dot product."""

from __future__ import annotations

import platform
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from edgeml.core.target import Target

DotProduct = Literal["vnni", "vpmaddwd", "sdot", "smlal", "none"]


@dataclass(frozen=True)
class VectorISA:
    """One vector instruction set, as seen by a kernel generator.

    Attributes:
        name: the usual name.
        lanes: float32 values in a vector register.
        registers: vector registers the program can name.
        dot_product: how four neighbouring int8 products are summed into an int32 lane: in one instruction (AVX-512
            VNNI, ARM's dot product extension), by widening multiplications, or lane by lane.
        broadcast_operand: a multiply-add takes a scalar straight from memory (x86); otherwise a lane of a register (ARM).
        rounds: whether it has an instruction that rounds to whole numbers.
        explicit_fma: whether LLVM fuses a multiplication and an addition only when it is told to (ARMv7).
        reciprocal: LLVM's name of the instructions that estimate and refine 1/x, without their last letter and type;
            "" where division is as fast.
    """

    name: str
    lanes: int
    registers: int
    dot_product: DotProduct
    broadcast_operand: bool
    rounds: bool = True
    explicit_fma: bool = False
    reciprocal: str = ""


AVX512_VNNI = VectorISA("AVX-512 VNNI", 16, 32, "vnni", broadcast_operand=True)
AVX512 = VectorISA("AVX-512", 16, 32, "vpmaddwd", broadcast_operand=True)
AVX2 = VectorISA("AVX2", 8, 16, "vpmaddwd", broadcast_operand=True)
SSE = VectorISA("SSE2", 4, 16, "vpmaddwd", broadcast_operand=True, rounds=False)
_FRECP, _VRECP = "llvm.aarch64.neon.frecp", "llvm.arm.neon.vrecp"
NEON_DOT = VectorISA("NEON with dot product", 4, 32, "sdot", broadcast_operand=False, reciprocal=_FRECP)
NEON = VectorISA("NEON", 4, 32, "smlal", broadcast_operand=False, reciprocal=_FRECP)
NEON_ARMV7 = VectorISA("NEON (ARMv7)", 4, 16, "smlal", broadcast_operand=False, rounds=False, reciprocal=_VRECP)
NEON_ARMV7_FMA = replace(NEON_ARMV7, name="NEON (ARMv7) with fused multiply-add", explicit_fma=True)
SCALAR = VectorISA("no vectors", 4, 16, "none", broadcast_operand=True, rounds=False)

# LLVM's names of x86 processors by what they have.
_X86_VNNI = frozenset(
    "cascadelake cooperlake icelake-client icelake-server tigerlake rocketlake sapphirerapids emeraldrapids "
    "graniterapids graniterapids-d znver4 znver5".split()
)
_X86_AVX512 = frozenset({"skylake-avx512", "cannonlake", "x86-64-v4", "knl", "knm"})
_X86_AVX2 = frozenset(
    "haswell broadwell skylake znver1 znver2 znver3 alderlake raptorlake meteorlake arrowlake arrowlake-s lunarlake "
    "pantherlake gracemont sierraforest grandridge x86-64-v3 core-avx2".split()
)
_ARM_DOT = frozenset(
    "cortex-a55 cortex-a65 cortex-a75 cortex-a76 cortex-a76ae cortex-a77 cortex-a78 cortex-a78ae cortex-a78c cortex-x1 "
    "cortex-x2 cortex-x3 cortex-a510 cortex-a710 cortex-a715 neoverse-n1 neoverse-n2 neoverse-v1 neoverse-v2 apple-m1 "
    "apple-m2 apple-m3 apple-m4".split()
)
_ARMV7_FMA = frozenset("cortex-a5 cortex-a7 cortex-a12 cortex-a15 cortex-a17 cortex-a53 cortex-a72 krait".split())


def isa_of(target: Target) -> VectorISA:
    """The vector unit that `target`'s processor has.

    Args:
        target: a processor; for the machine edgeml runs on, its own features are read.
    """
    machine = (target.triple or platform.machine()).split("-")[0].lower()
    if machine in {"aarch64", "arm64"}:
        return NEON_DOT if _has_arm_dot(target) else NEON
    if machine.startswith("arm"):
        fused = "-vfp4" not in target.features and (
            "+vfp4" in target.features or target.cpu in _ARMV7_FMA or "vfpv4" in _flags_of(target)
        )
        return NEON_ARMV7_FMA if fused else NEON_ARMV7
    if machine in {"x86_64", "amd64"}:
        return _x86(target)
    return SCALAR


def _has_arm_dot(target: Target) -> bool:
    if "+dotprod" in target.features or "-dotprod" in target.features:
        return "+dotprod" in target.features
    return "asimddp" in _flags_of(target) or target.cpu in _ARM_DOT


def _x86(target: Target) -> VectorISA:
    flags = _flags_of(target)
    if "avx512_vnni" in flags or target.cpu in _X86_VNNI or "+avx512vnni" in target.features:
        found = AVX512_VNNI
    elif {"avx512f", "avx512bw", "avx512vl", "avx512dq"} <= flags or target.cpu in _X86_AVX512:
        found = AVX512
    elif {"avx2", "fma"} <= flags or target.cpu in _X86_AVX2 or {"+avx2", "+fma"} <= set(target.features):
        found = AVX2
    else:
        return SSE
    if found is AVX512_VNNI and "-avx512vnni" in target.features:
        found = AVX512
    return AVX2 if "-avx512f" in target.features and found.lanes > AVX2.lanes else found


def _flags_of(target: Target) -> frozenset[str]:
    """Features of this machine's processor where the target is this machine, else none."""
    return frozenset() if target.triple or target.cpu else _processor_flags()


def _processor_flags() -> frozenset[str]:
    """Feature names of this machine's processor as Linux lists them; empty where it does not."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return frozenset()
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in {"flags", "Features"}:
            return frozenset(value.split())
    return frozenset()
