"""Sums of four neighbouring 8-bit products, as each processor computes them best, always exact in int32."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
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
# The part of the registers that is left for masks, halves and products, besides sums, weights and operands. What
# does not fit is read again from memory, which costs less than smaller tiles.
_EXTRA_REGISTERS = {"vnni": 0, "sdot": 1 / 32, "vpmaddwd": 1 / 8, "smlal": 1 / 10, "none": 1 / 16}
_PAIRS = {4: "llvm.x86.sse2.pmadd.wd", 8: "llvm.x86.avx2.pmadd.wd", 16: "llvm.x86.avx512.pmaddw.d.512"}
_FEW_REGISTERS = 16  # which tells a 32-bit ARM from a 64-bit one

# From (word, part of it) to codes in every lane.
_Operand = Callable[[int, int], Expr]


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

    def tile(self, rows: int, vectors: int, *, words: int, slow_epilogue: bool) -> Tile:
        """The tile of sums, each of `words` dot products, that fits the registers."""
        isa = self.vector.isa
        extra = round(_EXTRA_REGISTERS[self._kind] * isa.registers) + (self._flips and self._kind == "vnni")
        isa = replace(isa, registers=isa.registers - extra)
        return choose_tile(isa, rows, vectors, depth=words, slow_epilogue=slow_epilogue)

    def pack(self, weights: npt.NDArray[np.int8]) -> npt.NDArray[np.int8] | npt.NDArray[np.int16]:
        """Weights int8 (..., 4 x words, outputs) in the order of `weights`: (..., words, 4 x outputs)."""
        *outer, depth, width = weights.shape
        words = weights.reshape(*outer, depth // WORD, WORD, width)
        parts = [np.moveaxis(words[..., list(part), :], -2, -1) for part in self._order]
        flat = [part.reshape(*outer, depth // WORD, -1) for part in parts]
        return np.ascontiguousarray(np.concatenate(flat, axis=-1).astype(self.weights_dtype))

    @property
    def words_at_once(self) -> int:
        """Words that `multiply` takes best: ARM multiplies by one lane of a register that holds four."""
        return 1 if self.vector.isa.broadcast_operand else 4

    def multiply(
        self,
        sums: Registers,
        source: Buffer,
        pixels: Mapping[int, Expr],
        weights: Buffer,
        weights_at: Expr,
        words: int,
        vectors: int,
    ) -> None:
        """Add the products of a few words of codes with `vectors` neighbouring output vectors.

        Args:
            sums: int32, `vectors` for each pixel.
            source: the codes.
            pixels: where in `source` the first word of each pixel lies.
            weights: as `pack` makes them.
            weights_at: where in `weights` those of the first word lie.
            words: 1, or `words_at_once`.
            vectors: output vectors.
        """
        codes = {pixel: self._codes(source, index, words) for pixel, index in pixels.items()}
        for word in range(words):
            rows: dict[int, list[Expr]] = {}
            for part, pixel in self._steps(codes):
                if part not in rows:  # loaded where first needed, so that few registers hold weights at a time
                    rows[part] = [
                        self._weights(weights, weights_at + column * self._size(part), part)
                        for column in range(vectors)
                    ]
                    weights_at = weights_at + vectors * self._size(part)
                code = codes[pixel](word, part)
                for column in range(vectors):
                    at = pixel * vectors + column
                    sums[at] = self.add(sums[at], code, rows[part][column])

    def _steps(self, pixels: Iterable[int]) -> list[tuple[int, int]]:
        """Pairs of (part of a word, pixel) in the order that keeps the fewest values in registers.

        x86 reads one word a pixel and takes its parts from that; ARM has words in registers anyway.
        """
        parts = range(len(self._order))
        if self.vector.isa.broadcast_operand:
            return [(part, pixel) for pixel in pixels for part in parts]
        return [(part, pixel) for part in parts for pixel in pixels]

    def _size(self, part: int) -> int:
        """Weights in one register."""
        return len(self._order[part]) * self.vector.lanes

    def interleave(self, source: Buffer, rows: list[Expr]) -> Expr:
        """The codes of up to four rows, `lanes` channels from each index on: channel by channel, row by row.

        For processors that sum four products in one instruction.
        """
        vector, lanes = self.vector, self.vector.lanes
        size = WORD * lanes
        loaded = [self._unsigned(vector.load(source, row), lanes) for row in rows]
        if len(rows) == 1:
            codes = T.reinterpret(f"uint8x{size}", loaded[0].astype(vector.of("uint32")))
        else:
            # Words first, then bytes: ARM loads a word into a lane, and x86 permutes bytes once.
            words = "uint32" if lanes == WORD else f"uint32x{lanes // WORD}"
            rows_of_words = [T.reinterpret(words, row) for row in loaded + loaded[-1:] * (WORD - len(rows))]
            joined = tirx.Shuffle(rows_of_words, [tirx.const(word, "int32") for word in range(lanes)])
            order = [tirx.const(row * lanes + lane, "int32") for lane in range(lanes) for row in range(WORD)]
            codes = tirx.Shuffle([T.reinterpret(f"uint8x{size}", joined)], order)
        if self._flips:
            codes = codes ^ tirx.Broadcast(tirx.const(_SIGN_BIT, "uint8"), size)
        multiplied = f"{self._multiplied}x{size}"
        return vector.keep(T.reinterpret(multiplied, codes), multiplied)

    def add(self, total: Expr, codes: Expr, weights: Expr) -> Expr:
        """`total` plus the products of one operand of codes with one register of weights."""
        int32 = self.vector.of("int32")
        match self._kind:
            case "vnni":
                return T.call_llvm_pure_intrin(int32, "llvm.x86.avx512.vpdpbusd.512", total, codes, weights)
            case "sdot":
                return T.call_llvm_pure_intrin(int32, "llvm.aarch64.neon.sdot.v4i32.v16i8", total, weights, codes)
            case "vpmaddwd":
                return total + T.call_llvm_pure_intrin(int32, _PAIRS[self.vector.lanes], codes, weights)
            case "smlal":
                return self._add_pairs(total, codes, weights)
        return total + codes * weights

    def _add_pairs(self, total: Expr, codes: Expr, weights: Expr) -> Expr:
        """Eight products of 16 bits, then neighbours added to the sums: two instructions that run side by side."""
        if self.vector.isa.registers == _FEW_REGISTERS:
            products = T.call_llvm_pure_intrin("int16x8", "llvm.arm.neon.vmulls.v8i16", codes, weights)
            return T.call_llvm_pure_intrin("int32x4", "llvm.arm.neon.vpadals.v4i32.v8i16", total, products)
        products = T.call_llvm_pure_intrin("int16x8", "llvm.aarch64.neon.smull.v8i16", codes, weights)
        return total + T.call_llvm_pure_intrin("int32x4", "llvm.aarch64.neon.saddlp.v4i32.v8i16", products)

    def _weights(self, buffer: Buffer, index: Expr, part: int) -> Expr:
        size = self._size(part)
        value = buffer[tirx.Ramp(index, 1, size)]
        if self._kind == "none":
            return self.vector.keep(value.astype(self.vector.of("int32")), self.vector.of("int32"))
        return self.vector.keep(value, f"{self.weights_dtype}x{size}")

    def _codes(self, source: Buffer, index: Expr, words: int) -> _Operand:
        """A function of a word and a part of it: that part's codes in every lane, ready to be multiplied."""
        if self._kind == "none":
            return lambda word, part: self.vector.splat(source[index + word * WORD + part].astype("int32"))
        if self.vector.isa.broadcast_operand:
            return self._broadcast(source, index)
        codes = self.vector.registers(1, "uint8x16")
        if words == 1:
            word = T.reinterpret("uint32", self._unsigned(source[tirx.Ramp(index, 1, WORD)], WORD))
            value = T.reinterpret("uint8x16", tirx.Broadcast(word, 4))
        else:
            value = self._unsigned(source[tirx.Ramp(index, 1, 16)], 16)
        codes[0] = value ^ tirx.Broadcast(tirx.const(_SIGN_BIT, "uint8"), 16) if self._flips else value
        return lambda word, part: self._lane(codes[0], word, part)

    def _broadcast(self, source: Buffer, index: Expr) -> _Operand:
        """One word of codes in every lane, as x86 reads it from memory for nothing."""
        vector, lanes = self.vector, self.vector.lanes
        value = T.reinterpret("uint32", source[tirx.Ramp(index, 1, WORD)])
        if self._flips:
            value = value ^ tirx.const(_SIGN_BIT * 0x01010101, "uint32")
        word = vector.keep(tirx.Broadcast(value, lanes), vector.of("uint32"))
        if self._kind == "vnni":
            return lambda _word, _part: T.reinterpret(f"uint8x{WORD * lanes}", word)

        def half(_word: int, part: int) -> Expr:
            pairs = T.reinterpret(f"uint16x{2 * lanes}", word)
            if part == 0:
                pairs = pairs & tirx.Broadcast(tirx.const(0xFF, "uint16"), 2 * lanes)
            else:
                pairs = pairs >> tirx.Broadcast(tirx.const(8, "uint16"), 2 * lanes)
            return vector.keep(T.reinterpret(f"int16x{2 * lanes}", pairs), f"int16x{2 * lanes}")

        return half

    def _lane(self, codes: Expr, word: int, part: int) -> Expr:
        """A word of an ARM register, or half of it, in every lane."""
        if self._kind == "sdot":
            words = tirx.Shuffle([T.reinterpret("int32x4", codes)], [tirx.const(word, "int32")] * 4)
            return T.reinterpret("int8x16", words)
        pairs = tirx.Shuffle([T.reinterpret("int16x8", codes)], [tirx.const(2 * word + part, "int32")] * 4)
        return self.vector.keep(T.reinterpret("int8x8", pairs), "int8x8")

    def _unsigned(self, value: Expr, size: int) -> Expr:
        return value if self.dtype == "uint8" else T.reinterpret(f"uint8x{size}", value)
