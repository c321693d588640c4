"""What the kernels must know of a processor's vector unit: how many lanes, how many registers, which dot product."""

from __future__ import annotations

import platform
import re
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
        broadcast_operand: a multiply-add takes a scalar straight from memory (x86), not a lane of a register (ARM).
        rounds: whether it has an instruction that rounds to whole numbers.
        explicit_fma: whether LLVM fuses a multiplication and an addition only when it is told to (ARMv7).
        reciprocal: LLVM's name of the instructions that estimate and refine 1/x, without their last letter and type;
            "" where division is as fast.
        popcount: whether one instruction counts the bits of each 32-bit lane.
    """

    name: str
    lanes: int
    registers: int
    dot_product: DotProduct
    broadcast_operand: bool
    rounds: bool = True
    explicit_fma: bool = False
    reciprocal: str = ""
    popcount: bool = False


AVX512_VPOPCNTDQ = VectorISA("AVX-512 VNNI and VPOPCNTDQ", 16, 32, "vnni", broadcast_operand=True, popcount=True)
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

# LLVM's names of processors by what they have.
_X86_VPOPCNTDQ = re.compile("icelake-.*|tigerlake|rocketlake|sapphirerapids|emeraldrapids|graniterapids.*|znver[4-9]")
_X86_VNNI = re.compile("cascadelake|cooperlake")
_X86_AVX512 = re.compile("skylake-avx512|cannonlake|x86-64-v4")
_X86_AVX2 = re.compile(
    "haswell|core-avx2|broadwell|skylake|znver[1-3]|x86-64-v3|alderlake|raptorlake|meteorlake|arrowlake.*|lunarlake|"
    "pantherlake|gracemont|sierraforest|grandridge|clearwaterforest"
)
_ARM_DOT = re.compile(
    "cortex-(a55|a65.*|a75|a76.*|a77|a78.*|a[5-9][0-9]{2}.*|x[1-9].*)|neoverse-.*|apple-(a1[3-9]|m[1-9])|oryon.*"
)
_ARMV7_FMA = re.compile("cortex-a(5|7|12|15|17|32|35|53|57|72|73)|krait")


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
            "+vfp4" in target.features or _ARMV7_FMA.fullmatch(target.cpu) is not None or "vfpv4" in _flags_of(target)
        )
        return NEON_ARMV7_FMA if fused else NEON_ARMV7
    if machine in {"x86_64", "amd64"}:
        return _x86(target)
    return SCALAR


def _has_arm_dot(target: Target) -> bool:
    if "+dotprod" in target.features or "-dotprod" in target.features:
        return "+dotprod" in target.features
    return "asimddp" in _flags_of(target) or bool(_ARM_DOT.fullmatch(target.cpu))


def _x86(target: Target) -> VectorISA:
    flags = _flags_of(target)
    if {"avx512_vnni", "avx512_vpopcntdq"} <= flags or _X86_VPOPCNTDQ.fullmatch(target.cpu):
        found = AVX512_VPOPCNTDQ
    elif "avx512_vnni" in flags or _X86_VNNI.fullmatch(target.cpu) or "+avx512vnni" in target.features:
        found = AVX512_VNNI
    elif {"avx512f", "avx512bw", "avx512vl", "avx512dq"} <= flags or _X86_AVX512.fullmatch(target.cpu):
        found = AVX512
    elif {"avx2", "fma"} <= flags or _X86_AVX2.fullmatch(target.cpu) or {"+avx2", "+fma"} <= set(target.features):
        found = AVX2
    else:
        return SSE
    if found is AVX512_VPOPCNTDQ and "-avx512vpopcntdq" in target.features:
        found = AVX512_VNNI
    if found in {AVX512_VPOPCNTDQ, AVX512_VNNI} and "-avx512vnni" in target.features:
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
