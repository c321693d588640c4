"""Counts the bits that are set in words of signs, as each processor does it best: in 32-bit lanes, or byte by byte."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from edgeml.compiler.kernels.tile import Tile, choose_tile
from edgeml.compiler.kernels.vector import Buffer, Expr, Registers, Vector

# Bits of one word: as many as a lane of sums has, so that sums and float32 results have the same lanes.
WORD = 32
# A byte holds the bits counted in this many bytes: 31 x 8 is 248.
MOST_WORDS = 31
_BYTES_PER_WORD = WORD // 8
# Registers beside sums, weights and an operand: for a difference; and for the table and the masks of a byte's count.
_EXTRA_REGISTERS, _EXTRA_REGISTERS_OF_BYTES = 1, 5
_ARM_LANES, _ARM_REGISTERS = 4, 32


@dataclass(frozen=True)
class Words:
    """Where the words of one step lie.

    Attributes:
        source: words of activations.
        pixels: for each pixel of the tile, where in `source` its word lies.
        weights: words of weights.
        weights_at: where those of the first output vector lie; the others follow.
        mask: bits that count, laid out as the weights; None where all do.
    """

    source: Buffer
    pixels: Mapping[int, Expr]
    weights: Buffer
    weights_at: Expr
    mask: Buffer | None


@dataclass(frozen=True)
class Popcount:
    """Emits sums[lane] += bits set in (activations ^ weights[lane]), for a tile of pixels and output vectors.

    With an instruction that counts in lanes of 32 bits the sums grow at once. Without one each byte is counted by
    itself into a byte, and bytes are added up to lanes before they could overflow.

    Attributes:
        vector: the vector unit.
        vectors: output vectors of a tile.
    """

    vector: Vector
    vectors: int = 1

    @cached_property
    def by_bytes(self) -> bool:
        """Whether bytes are counted by themselves."""
        return not self.vector.isa.popcount

    @property
    def bytes(self) -> str:
        """TVM's name of a register's type as bytes."""
        return f"uint8x{self.vector.lanes * _BYTES_PER_WORD}"

    def tile(self, rows: int, vectors: int, *, words: int, unrolled: int, slow_epilogue: bool) -> Tile:
        """The tile of sums, each of `words` words of which `unrolled` are written out, that fits the registers."""
        isa = self.vector.isa
        extra = _EXTRA_REGISTERS_OF_BYTES if self.by_bytes else _EXTRA_REGISTERS
        if isa.registers == _ARM_REGISTERS and not isa.broadcast_operand:
            extra = _EXTRA_REGISTERS  # it counts bytes in one instruction
        isa = replace(isa, registers=isa.registers - extra, broadcast_operand=True)
        return choose_tile(isa, rows, vectors, depth=words, slow_epilogue=slow_epilogue, unrolled=unrolled)

    def counters(self, pixels: int) -> Counters:
        """Sums of 0 for the pixels of a tile."""
        count = pixels * self.vectors
        total = self.vector.registers(count, self.vector.of("int32"))
        for index in range(count):
            total[index] = self.vector.splat(0, "int32")
        counters = Counters(self, pixels, total, self.vector.registers(count, self.bytes) if self.by_bytes else None)
        counters.clear()
        return counters

    def ones(self, words: Expr) -> Expr:
        """The bits set in each byte of `words`, or in each word where the processor can count those."""
        if self.by_bytes:
            return tirx.popcount(T.reinterpret(self.bytes, words))
        return T.reinterpret(self.vector.of("int32"), tirx.popcount(words))

    def add_bytes(self, total: Expr, counted: Expr) -> Expr:
        """`total` plus the four bytes of each lane."""
        vector, isa = self.vector, self.vector.isa
        int32 = vector.of("int32")
        if isa.lanes == _ARM_LANES and not isa.broadcast_operand:
            if isa.registers == _ARM_REGISTERS:
                pairs = T.call_llvm_pure_intrin("uint16x8", "llvm.aarch64.neon.uaddlp.v8i16.v16i8", counted)
                return total + T.call_llvm_pure_intrin(int32, "llvm.aarch64.neon.uaddlp.v4i32.v8i16", pairs)
            pairs = T.call_llvm_pure_intrin("uint16x8", "llvm.arm.neon.vpaddlu.v8i16.v16i8", counted)
            return T.call_llvm_pure_intrin(int32, "llvm.arm.neon.vpadalu.v4i32.v8i16", total, pairs)
        uint32 = vector.of("uint32")
        words = vector.keep(T.reinterpret(uint32, counted), uint32)
        odd, low = vector.splat(8, "uint32"), vector.splat(0x00FF00FF, "uint32")
        pairs = vector.keep((words & low) + ((words >> odd) & low), uint32)
        words = (pairs + (pairs >> vector.splat(16, "uint32"))) & vector.splat(0xFFFF, "uint32")
        return total + T.reinterpret(int32, words)


@dataclass(frozen=True)
class Counters:
    """The counts of a tile in the making.

    Attributes:
        popcount: how they are counted.
        pixels: pixels of the tile.
        total: int32 sums by pixel and output vector; complete after `collect`.
        parts: counts of single bytes that are not in `total` yet; None where the processor counts words.
    """

    popcount: Popcount
    pixels: int
    total: Registers
    parts: Registers | None

    def add(self, words: Words) -> None:
        """Count one word of each pixel; at most `MOST_WORDS` times between two calls of `collect`."""
        vector, vectors = self.popcount.vector, self.popcount.vectors
        uint32 = vector.of("uint32")
        rows, masks = vector.registers(vectors, uint32), vector.registers(vectors, uint32)
        for column in range(vectors):
            rows[column] = vector.load(words.weights, words.weights_at + column * vector.lanes)
            if words.mask is not None:
                masks[column] = vector.load(words.mask, words.weights_at + column * vector.lanes)
        counts = self.total if self.parts is None else self.parts
        for pixel, at in words.pixels.items():
            signs = vector.keep(vector.splat(words.source[at]), uint32)
            for column in range(vectors):
                different = signs ^ rows[column]
                if words.mask is not None:
                    different = different & masks[column]
                index = pixel * vectors + column
                counts[index] = counts[index] + self.popcount.ones(different)

    def collect(self) -> None:
        """Add what the bytes hold to the sums."""
        if self.parts is None:
            return
        for index in range(self.pixels * self.popcount.vectors):
            self.total[index] = self.popcount.add_bytes(self.total[index], self.parts[index])
        self.clear()

    def clear(self) -> None:
        """Let the bytes hold nothing."""
        if self.parts is None:
            return
        for index in range(self.pixels * self.popcount.vectors):
            size = self.popcount.vector.lanes * _BYTES_PER_WORD
            self.parts[index] = tirx.Broadcast(tirx.const(0, "uint8"), size)
