"""Sums of four neighbouring 8-bit products, as each processor computes them best, always exact in int32."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt
from tvm import tirx
from tvm.script.ir_builder import tirx as T

from edgeml.compiler.kernels.tile import Tile, choose_tile
from edgeml.compiler.kernels.vector import Buffer, Expr, Registers, Vector

# Input channels of one step: what one 32-bit word of codes holds.
WORD = 4
_SIGN_BIT = 0x80

# The order in which the weights of a word's channels lie: each inner tuple shares a register, lane by lane.
_ORDER = {
    "vnni": ((0, 1, 2, 3),),
    "sdot": ((0, 1, 2, 3),),
    "vpmaddwd": ((0, 2), (1, 3)),
    "smlal": ((0, 1), (2, 3)),
    "none": ((0,), (1,), (2,), (3,)),
}
# Registers that a step needs besides sums, one row of weights and the operands: masks, halves, products.
_EXTRA_REGISTERS = {"vnni": 0, "sdot": 1, "vpmaddwd": 4, "smlal": 4, "none": 3}
_PAIRS = {4: "llvm.x86.sse2.pmadd.wd", 8: "llvm.x86.avx2.pmadd.wd", 16: "llvm.x86.avx512.pmaddw.d.512"}
_SHORT = 16  # registers of a 32-bit ARM

# A word of codes ready to be multiplied, and the weights of one output vector: one expression per inner tuple above.
Parts = tuple[Expr, ...]


@dataclass(frozen=True)
class DotProduct:
    """Emits sums[lane] += codes[0..3] . weights[lane][0..3] for int32 sums, 8-bit codes and int8 weights.

    Attributes:
        vector: the vector unit.
        dtype: type of the codes.
    """

    vector: Vector
    dtype: Literal["uint8", "int8"]

    @property
    def _kind(self) -> str:
        return self.vector.isa.dot_product

    @property
    def _multiplied(self) -> str:
        """The type that the instruction takes codes in."""
        return {"vnni": "uint8", "vpmaddwd": "uint8", "none": self.dtype}.get(self._kind, "int8")

    @property
    def _flips(self) -> bool:
        """Whether codes change their sign bit on the way, which moves them by 128."""
        return self._multiplied != self.dtype

    @property
    def weights_dtype(self) -> str:
        """Type of packed weights."""
        return "int16" if self._kind == "vpmaddwd" else "int8"

    @cached_property
    def _order(self) -> tuple[tuple[int, ...], ...]:
        return _ORDER[self._kind]

    def zero_point(self, zero_point: int) -> int:
        """What a code's zero point is in the numbers that are multiplied."""
        if not self._flips:
            return zero_point
        return zero_point + 128 if self.dtype == "int8" else zero_point - 128

    def tile(self, rows: int, vectors: int) -> Tile:
        """The tile of sums that fits the registers."""
        isa = self.vector.isa
        extra = _EXTRA_REGISTERS[self._kind] + (self._flips and self._kind == "vnni")
        return choose_tile(replace(isa, registers=isa.registers - extra), rows, vectors)

    def pack(self, weights: npt.NDArray[np.int8]) -> npt.NDArray[np.int8] | npt.NDArray[np.int16]:
        """Weights int8 (..., 4 x words, outputs) in the order of `weights`: (..., words, 4 x outputs)."""
        *outer, depth, width = weights.shape
        words = weights.reshape(*outer, depth // WORD, WORD, width)
        parts = [np.moveaxis(words[..., list(part), :], -2, -1) for part in self._order]
        flat = [part.reshape(*outer, depth // WORD, -1) for part in parts]
        return np.ascontiguousarray(np.concatenate(flat, axis=-1).astype(self.weights_dtype))

    @property
    def words_at_once(self) -> int:
        """Words that `words` reads best: ARM multiplies by one lane of a register that holds four."""
        return 1 if self.vector.isa.broadcast_operand else 4

    def words(self, source: Buffer, index: Expr, count: int) -> Callable[[int], Parts]:
        """A function that gives the i-th of `count` (1, or `words_at_once`) words of codes, ready to be multiplied."""
        if count == 1:
            return lambda _: self._word(source, index)
        codes = self.vector.registers(1, "uint8x16")
        value = self._unsigned(source[tirx.Ramp(index, 1, 16)], 16)
        codes[0] = value ^ tirx.Broadcast(tirx.const(_SIGN_BIT, "uint8"), 16) if self._flips else value
        return lambda word: self._lane(codes, word)

    def weights(self, buffer: Buffer, index: Expr, vectors: int) -> list[Parts]:
        """The weights of one word for each of `vectors` neighbouring output vectors, from element `index` on."""
        lanes = self.vector.lanes
        each = [[] for _ in range(vectors)]  # type: list[list[Expr]]
        at = index
        for part in self._order:
            size = len(part) * lanes
            for vector in range(vectors):
                value = buffer[tirx.Ramp(at + vector * size, 1, size)]
                if self._kind == "none":
                    value, size_dtype = value.astype(self.vector.of("int32")), self.vector.of("int32")
                else:
                    size_dtype = f"{self.weights_dtype}x{size}"
                each[vector].append(self.vector.keep(value, size_dtype))
            at = at + vectors * size
        return [tuple(parts) for parts in each]

    def add(self, total: Expr, codes: Parts, weights: Parts) -> Expr:
        """`total` plus the four products."""
        int32 = self.vector.of("int32")
        match self._kind:
            case "vnni":
                return T.call_llvm_pure_intrin(int32, "llvm.x86.avx512.vpdpbusd.512", total, codes[0], weights[0])
            case "sdot":
                return T.call_llvm_pure_intrin(
                    int32, "llvm.aarch64.neon.sdot.v4i32.v16i8", total, weights[0], codes[0]
                )
            case "vpmaddwd":
                even, odd = (
                    T.call_llvm_pure_intrin(int32, _PAIRS[self.vector.lanes], code, weight)
                    for code, weight in zip(codes, weights, strict=True)
                )
                return total + (even + odd)
            case "smlal":
                for code, weight in zip(codes, weights, strict=True):
                    total = self._add_pairs(total, code, weight)
                return total
        for code, weight in zip(codes, weights, strict=True):
            total = total + code * weight
        return total

    def _add_pairs(self, total: Expr, codes: Expr, weights: Expr) -> Expr:
        """Eight products of 16 bits, then neighbours added to the sums: two instructions that run side by side."""
        if self.vector.isa.registers == _SHORT:
            products = T.call_llvm_pure_intrin("int16x8", "llvm.arm.neon.vmulls.v8i16", codes, weights)
            return T.call_llvm_pure_intrin("int32x4", "llvm.arm.neon.vpadals.v4i32.v8i16", total, products)
        products = T.call_llvm_pure_intrin("int16x8", "llvm.aarch64.neon.smull.v8i16", codes, weights)
        return total + T.call_llvm_pure_intrin("int32x4", "llvm.aarch64.neon.saddlp.v4i32.v8i16", products)

    def _word(self, source: Buffer, index: Expr) -> Parts:
        """One word of codes in every lane."""
        vector, lanes = self.vector, self.vector.lanes
        if self._kind == "none":
            return tuple(vector.splat(source[index + channel].astype("int32")) for channel in range(WORD))
        word = T.reinterpret("uint32", source[tirx.Ramp(index, 1, WORD)])
        if self._flips:
            word = word ^ tirx.const(_SIGN_BIT * 0x01010101, "uint32")
        spread = vector.keep(tirx.Broadcast(word, lanes), vector.of("uint32"))
        match self._kind:
            case "vnni":
                return (T.reinterpret(f"uint8x{WORD * lanes}", spread),)
            case "sdot":
                return (T.reinterpret(f"int8x{WORD * lanes}", spread),)
            case "vpmaddwd":
                pairs = vector.keep(T.reinterpret(f"uint16x{2 * lanes}", spread), f"uint16x{2 * lanes}")
                even = pairs & tirx.Broadcast(tirx.const(0xFF, "uint16"), 2 * lanes)
                odd = pairs >> tirx.Broadcast(tirx.const(8, "uint16"), 2 * lanes)
                return tuple(
                    vector.keep(T.reinterpret(f"int16x{2 * lanes}", half), f"int16x{2 * lanes}") for half in (even, odd)
                )
        codes = vector.registers(1, "uint8x16")
        codes[0] = T.reinterpret("uint8x16", spread)
        return self._lane(codes, 0)

    def _lane(self, codes: Registers, word: int) -> Parts:
        """One of the four words of an ARM register in every lane."""
        if self._kind == "sdot":
            words = T.reinterpret("int32x4", codes[0])
            return (T.reinterpret("int8x16", tirx.Shuffle([words], [tirx.const(word, "int32")] * 4)),)
        pairs = T.reinterpret("int16x8", codes[0])
        return tuple(
            self.vector.keep(
                T.reinterpret("int8x8", tirx.Shuffle([pairs], [tirx.const(2 * word + half, "int32")] * 4)), "int8x8"
            )
            for half in range(2)
        )

    def _unsigned(self, value: Expr, size: int) -> Expr:
        return value if self.dtype == "uint8" else T.reinterpret(f"uint8x{size}", value)
