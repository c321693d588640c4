"""1x1 convolution and dense layer: a product of a pixels x channels matrix with packed weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from tvm import tirx
from tvm.script.ir_builder import tirx as T

from edgeml.compiler.isa import VectorISA
from edgeml.compiler.kernels.epilogue import Epilogue, Place, overlapping, padded
from edgeml.compiler.kernels.prim_func import Argument, Kernel, loop
from edgeml.compiler.kernels.tile import Tile, choose_tile
from edgeml.compiler.kernels.vector import Buffer, Expr, Registers, Vector


@dataclass(frozen=True, kw_only=True)
class Pointwise:
    """One 1x1 convolution or dense layer in float32.

    Attributes:
        isa: the vector unit.
        batch: samples; None is known at run time only.
        pixels: height x width of a sample; 1 for a dense layer.
        channels_in: input channels, without padding.
        channels_out: output channels, without padding.
        epilogue: what follows the sums.
        gated: whether input channels are first multiplied by a gate per sample (squeeze-and-excitation).
    """

    isa: VectorISA
    batch: int | None
    pixels: int
    channels_in: int
    channels_out: int
    epilogue: Epilogue = field(default_factory=Epilogue)
    gated: bool = False

    @cached_property
    def _vector(self) -> Vector:
        return Vector(self.isa)

    @cached_property
    def _stride_in(self) -> int:
        return padded(self.channels_in, self._vector)

    @cached_property
    def _stride_out(self) -> int:
        return padded(self.channels_out, self._vector)

    @property
    def _depth(self) -> int:
        """Input channels that are summed: lanes of a register are used whole where operands are not broadcast."""
        return self.channels_in if self.isa.broadcast_operand else self._stride_in

    @cached_property
    def _tile(self) -> Tile:
        rows = self.pixels if self.gated or self.batch is None else self.pixels * self.batch
        vectors = self._stride_out // self._vector.lanes
        return choose_tile(self.isa, rows, vectors, depth=self._depth, slow_epilogue=self.epilogue.is_slow)

    @property
    def _panel(self) -> int:
        """Tiles whose pixels stay in the second-level cache while all blocks of output channels pass over them."""
        row_bytes = 4 * (self._stride_in + self._stride_out)
        return max(_PANEL_BYTES // (row_bytes * self._tile.rows), 1)

    @property
    def _prefetches(self) -> bool:
        """Whether the next block of weights is fetched meanwhile: large weights arrive later than they are needed."""
        return self._tile.blocks * self._depth * self._tile.vectors * self._vector.lanes * 4 > _PANEL_BYTES

    @property
    def _ahead(self) -> int:
        """How many weights ahead: the next block while this one's tiles pass, some rows where there is one tile."""
        block = self._depth * self._tile.vectors * self._vector.lanes
        return block if self.pixels > self._tile.rows else min(block, _AHEAD_ELEMENTS)

    @property
    def _gate_weights(self) -> bool:
        """Whether the gate goes into the weights, which is less work where pixels outnumber output channels."""
        return self.pixels > self._stride_out

    def kernel(self) -> Kernel:
        """The kernel; reads input (batch, pixels, padded channels), weights, bias, [gate], operands.

        Its inputs: input float32 (batch, pixels, padded channels_in), weights and bias as `pack` makes them, gate
        float32 (batch, padded channels_in) where gated, then the epilogue's operands; output (batch, pixels, padded
        channels_out). The contents of padding channels are never used.
        """
        shape = (self.batch, self.pixels, self._stride_out)
        gate = (Argument("gate", (self.batch, self._stride_in)),) if self.gated else ()
        blocks, width = self._tile.blocks, self._tile.vectors * self._vector.lanes
        inputs = (
            Argument("input", (self.batch, self.pixels, self._stride_in)),
            Argument("weights", (blocks, self._depth, width)),
            Argument("bias", (self._stride_out,)),
            *gate,
            *self.epilogue.arguments(shape),
        )
        name = "pointwise" if self.pixels > 1 else "dense"
        return Kernel(name, inputs, (Argument("output", shape, self.epilogue.dtype),), self._body)

    def pack(
        self, weights: npt.NDArray[np.float32], bias: npt.NDArray[np.float32] | None
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Weights float32 (channels_out, channels_in) and bias (channels_out) in the kernel's order."""
        lanes, tile = self._vector.lanes, self._tile
        full = np.zeros((self._depth, self._stride_out), np.float32)
        full[: self.channels_in, : self.channels_out] = weights.T
        starts = [tile.start(block) * lanes for block in range(tile.blocks)]
        packed = np.stack([full[:, start : start + tile.vectors * lanes] for start in starts])
        padded_bias = np.zeros(self._stride_out, np.float32)
        if bias is not None:
            padded_bias[: self.channels_out] = bias
        return np.ascontiguousarray(packed), padded_bias

    def _body(self, batch: Expr, source: Buffer, weights: Buffer, bias: Buffer, *rest: Buffer) -> None:
        *operands, output = rest
        samples = batch if self.batch is None else self.batch
        if self.gated:
            gate, *operands = operands
            with T.serial(0, samples) as sample:
                self._gated_sample(sample, source, weights, bias, gate, operands, output)
        else:
            self._rows(0, samples * self.pixels, source, weights, bias, operands, output)

    def _gated_sample(
        self,
        sample: Expr,
        source: Buffer,
        weights: Buffer,
        bias: Buffer,
        gate: Buffer,
        operands: list[Buffer],
        output: Buffer,
    ) -> None:
        vector, lanes, depth = self._vector, self._vector.lanes, self._depth
        width = self._tile.vectors * lanes
        gate_at = sample * self._stride_in
        first = sample * self.pixels
        if self._gate_weights:
            scaled = T.alloc_buffer((self._tile.blocks * depth * width,), "float32")
            with T.serial(0, self._tile.blocks * depth) as row:
                factor = vector.keep(vector.splat(gate[gate_at + row % depth]))
                for at in range(0, width, lanes):
                    vector.store(scaled, row * width + at, vector.load(weights, row * width + at) * factor)
            self._rows(first, self.pixels, source, scaled, bias, operands, output)
            return
        scaled = T.alloc_buffer((self.pixels * self._stride_in,), "float32")
        with T.serial(0, self.pixels) as pixel, T.serial(0, self._stride_in // lanes) as block:
            at = block * lanes
            value = vector.load(source, (first + pixel) * self._stride_in + at) * vector.load(gate, gate_at + at)
            vector.store(scaled, pixel * self._stride_in + at, value)
        self._rows(first, self.pixels, scaled, weights, bias, operands, output, source_first=0)

    def _rows(
        self,
        first: Expr,
        rows: Expr,
        source: Buffer,
        weights: Buffer,
        bias: Buffer,
        operands: list[Buffer],
        output: Buffer,
        source_first: Expr | None = None,
    ) -> None:
        """All output channels of `rows` pixels from `first` on; `source_first` is where they lie in `source`."""
        tile = self._tile
        begin = first if source_first is None else source_first
        work = self.pixels * self.channels_in * self.channels_out

        def emit(block: Expr, row: Expr, count: int) -> None:
            self._tile_body(block, begin + row, first + row, count, source, weights, bias, operands, output)

        if isinstance(rows, int) or self.pixels >= tile.rows:
            tiles = -(-rows // tile.rows) if isinstance(rows, int) else (rows + tile.rows - 1) // tile.rows
            panels = (tiles + self._panel - 1) // self._panel
            with loop(panels * tile.blocks, work) as index:
                panel, block = index // tile.blocks, index % tile.blocks
                with T.serial(0, tirx.Min(self._panel, tiles - panel * self._panel)) as within:
                    emit(block, overlapping(panel * self._panel + within, tile.rows, rows), tile.rows)
            return
        # Fewer rows than a tile may come: whole tiles, then row by row.
        with loop(tile.blocks, work) as block:
            with T.serial(0, rows // tile.rows) as index:
                emit(block, index * tile.rows, tile.rows)
            with T.serial(0, rows % tile.rows) as index:
                emit(block, rows // tile.rows * tile.rows + index, 1)

    def _tile_body(
        self,
        block: Expr,
        source_row: Expr,
        row: Expr,
        count: int,
        source: Buffer,
        weights: Buffer,
        bias: Buffer,
        operands: list[Buffer],
        output: Buffer,
    ) -> None:
        vector, lanes, vectors = self._vector, self._vector.lanes, self._tile.vectors
        width = vectors * lanes
        channel = overlapping(block, vectors, self._stride_out // lanes) * lanes
        chains = self._chains(count * vectors)
        sums = vector.registers(chains * count * vectors)
        multiply = _Multiply(vector, source, weights, count, vectors, self._stride_in)
        step = chains if self.isa.broadcast_operand else lanes
        groups = self._depth // step

        def start(index: int) -> Expr:
            return (
                vector.load(bias, channel + index % vectors * lanes) if index < count * vectors else vector.splat(0.0)
            )

        def add(first: Expr, many: Expr) -> None:
            with T.serial(0, many) as group:
                base = (block * self._depth + (first + group) * step) * width
                if self._prefetches:
                    for at in range(0, step * width, _LINE_ELEMENTS):
                        vector.prefetch(weights, base + self._ahead + at)
                multiply.emit(sums, source_row * self._stride_in + (first + group) * step, base, step, chains)

        for index in range(chains * count * vectors):
            sums[index] = start(index)
        if count == 1 and self._depth >= _LONG_SUM:
            # Rounding errors grow with the length of a sum, so long ones are made of parts.
            totals = vector.registers(chains * vectors)
            for index in range(chains * vectors):
                totals[index] = vector.splat(0.0)
            each = _PART_OF_SUM // step
            with T.serial(0, -(-groups // each)) as part:
                add(part * each, tirx.Min(each, groups - part * each))
                for index in range(chains * vectors):
                    totals[index] = totals[index] + sums[index]
                    sums[index] = vector.splat(0.0)
            for index in range(chains * vectors):
                sums[index] = totals[index]
        else:
            add(0, groups)
        for rest in range(groups * step, self._depth):
            multiply.emit(sums, source_row * self._stride_in + rest, (block * self._depth + rest) * width, 1, 1)
        for chain in range(1, chains):
            for index in range(count * vectors):
                sums[index] = sums[index] + sums[chain * count * vectors + index]
        for index in range(count * vectors):
            at = (row + index // vectors) * self._stride_out + channel + index % vectors * lanes
            where = Place(at, channel + index % vectors * lanes)
            value = self.epilogue.apply(vector, sums[index], operands, where, self._stride_out)
            self.epilogue.store(vector, output, at, value)

    def _chains(self, accumulators: int) -> int:
        """Independent sums for each output, so that a multiply-add need not wait for the one before it."""
        if accumulators >= _IN_FLIGHT:
            return 1
        chains = min(-(-_IN_FLIGHT // accumulators), self._depth)
        if self.isa.broadcast_operand:
            return chains
        return min(1 << (chains - 1).bit_length(), self._vector.lanes)  # as many as divide a register's lanes


# A quarter of the second-level cache of the smallest processors with a vector unit worth the name.
_PANEL_BYTES = 128 << 10
_LINE_ELEMENTS = 16  # float32 values in a cache line
_AHEAD_ELEMENTS = 2048
_LONG_SUM = 2048
_PART_OF_SUM = 256
# Multiply-adds a processor has under way at once: two a cycle, four cycles each.
_IN_FLIGHT = 8


@dataclass(frozen=True)
class _Multiply:
    """Emits sums[pixel, vector] += input[pixel, channel] * weights[channel, vector] for a few channels."""

    vector: Vector
    source: Buffer
    weights: Buffer
    count: int
    vectors: int
    stride: int

    def emit(self, sums: Registers, source_at: Expr, weights_at: Expr, channels: int, chains: int) -> None:
        vector, lanes = self.vector, self.vector.lanes
        operands: list[Any] = [
            vector.operands(self.source, source_at + row * self.stride, channels) for row in range(self.count)
        ]
        for channel in range(channels):
            row_of_weights = vector.registers(self.vectors)
            for index in range(self.vectors):
                at = weights_at + channel * self.vectors * lanes + index * lanes
                row_of_weights[index] = vector.load(self.weights, at)
            offset = channel % chains * self.count * self.vectors
            for row in range(self.count):
                for index in range(self.vectors):
                    at = offset + row * self.vectors + index
                    sums[at] = vector.multiply_add(operands[row](channel), row_of_weights[index], sums[at])
