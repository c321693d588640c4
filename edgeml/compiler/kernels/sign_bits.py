"""Turns values into the bits of their signs: what a binary layer does with its input first."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np
import numpy.typing as npt
from tvm import tirx
from tvm.script.ir_builder import tirx as T

from edgeml.compiler.isa import VectorISA
from edgeml.compiler.kernels.epilogue import padded
from edgeml.compiler.kernels.popcount import WORD
from edgeml.compiler.kernels.prim_func import Argument, Kernel, loop
from edgeml.compiler.kernels.vector import Buffer, Expr, Vector

# LLVM's names of the x86 instructions that gather the sign bits of a register's lanes, and what they read.
_GATHER = {
    4: ("llvm.x86.sse.movmsk.ps", "float32"),
    8: ("llvm.x86.avx.movmsk.ps.256", "float32"),
    16: ("llvm.x86.sse2.pmovmskb.128", "int8"),
}


def words_of(channels: int) -> int:
    """Words that hold one bit a channel."""
    return -(-channels // WORD)


@dataclass(frozen=True, kw_only=True)
class SignBits:
    """One bit a value: 1 where it is below its channel's threshold. Bits beyond the last channel are 0.

    Attributes:
        isa: the vector unit.
        batch: samples; None is known at run time only.
        pixels: (height, width), or () for a tensor (batch, channels).
        channels: channels, without padding.
    """

    isa: VectorISA
    batch: int | None
    pixels: tuple[int, ...]
    channels: int

    @cached_property
    def _vector(self) -> Vector:
        return Vector(self.isa)

    @cached_property
    def _stride(self) -> int:
        return padded(self.channels, self._vector)

    def kernel(self) -> Kernel:
        """The kernel; reads input float32 (batch, pixels, padded channels) and what `pack` makes.

        Output uint32 (batch, pixels, words): bit i of word j is channel 32 j + i.
        """
        inputs = (
            Argument("input", (self.batch, *self.pixels, self._stride)),
            Argument("thresholds", (self._stride,)),
        )
        output = Argument("output", (self.batch, *self.pixels, words_of(self.channels)), "uint32")
        return Kernel("sign_bits", inputs, (output,), self._body)

    def pack(self, thresholds: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Thresholds float32 (channels) for the kernel: nothing is below those of padding channels."""
        full = np.full(self._stride, -np.inf, np.float32)
        full[: self.channels] = thresholds
        return full

    def _body(self, batch: Expr, source: Buffer, thresholds: Buffer, output: Buffer) -> None:
        lanes, words, pixels = self._vector.lanes, words_of(self.channels), prod(self.pixels)
        whole = self._stride // WORD
        with loop((batch if self.batch is None else self.batch) * pixels, pixels * self._stride) as pixel:
            base, at = pixel * self._stride, pixel * words
            if whole:
                with T.serial(0, whole) as word:
                    bits = self._word(source, base + word * WORD, thresholds, word * WORD, WORD // lanes)
                    T.buffer_store(output, bits, [at + word])
            if words > whole:
                first = whole * WORD
                bits = self._word(source, base + first, thresholds, first, (self._stride - first) // lanes)
                T.buffer_store(output, bits, [at + whole])

    def _word(self, source: Buffer, at: Expr, thresholds: Buffer, channel: Expr, vectors: int) -> Expr:
        """The bits of `vectors` neighbouring registers of values."""
        vector, lanes = self._vector, self._vector.lanes
        below = [
            vector.load(source, at + index * lanes) < vector.load(thresholds, channel + index * lanes)
            for index in range(vectors)
        ]
        if self._gathers:
            total: Expr = tirx.const(0, "uint32")
            for index, condition in enumerate(below):
                total = total | (self._gathered(condition) << tirx.const(index * lanes, "uint32"))
            return total
        # Each lane collects every lanes-th bit; the lanes have no bit in common, so that their sum is their union.
        bits: Expr = vector.splat(0, "uint32")
        lane = vector.splat(1, "uint32") << tirx.Ramp(tirx.const(0, "uint32"), tirx.const(1, "uint32"), lanes)
        for index, condition in enumerate(below):
            bit = lane << vector.splat(index * lanes, "uint32")
            bits = vector.keep(bits | vector.select(condition, bit, vector.splat(0, "uint32")), vector.of("uint32"))
        return T.call_llvm_pure_intrin("uint32", f"llvm.vector.reduce.add.v{lanes}i32", bits)

    @property
    def _gathers(self) -> bool:
        """Whether an instruction gathers one bit a lane: x86's does, ARM has none."""
        return self.isa.broadcast_operand and self.isa.dot_product != "none"

    def _gathered(self, condition: Expr) -> Expr:
        name, dtype = _GATHER[self._vector.lanes]
        ones = self._vector.select(condition, self._vector.splat(-1, dtype), self._vector.splat(0, dtype))
        return T.call_llvm_pure_intrin("uint32", name, ones)
