"""Depthwise convolution: every channel on its own, a row of pixels of one channel vector in registers."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
from tvm.script.ir_builder import tirx as T

from edgeml.compiler.isa import VectorISA
from edgeml.compiler.kernels.epilogue import Epilogue, Place, padded
from edgeml.compiler.kernels.prim_func import Argument, Kernel, loop
from edgeml.compiler.kernels.vector import Buffer, Expr, Registers, Vector
from edgeml.compiler.kernels.window import Axis, Span, rows_inside, spans, touched

_WIDEST = 14
_SMALL_IMAGE = 512  # pixels: 32 KiB of one vector each


@dataclass(frozen=True, kw_only=True)
class Depthwise:
    """One depthwise convolution in float32.

    Attributes:
        isa: the vector unit.
        batch: samples; None is known at run time only.
        rows: the window along the height.
        columns: the window along the width.
        channels: channels, without padding.
        epilogue: what follows the sums.
        pooled: whether the mean over each sample's pixels is a second output (for squeeze-and-excitation).
    """

    isa: VectorISA
    batch: int | None
    rows: Axis
    columns: Axis
    channels: int
    epilogue: Epilogue = field(default_factory=Epilogue)
    pooled: bool = False

    @cached_property
    def _vector(self) -> Vector:
        return Vector(self.isa)

    @cached_property
    def _stride(self) -> int:
        return padded(self.channels, self._vector)

    @property
    def _taps(self) -> int:
        return self.rows.taps * self.columns.taps

    def kernel(self) -> Kernel:
        """The kernel; reads input, weights, bias, operands.

        Its inputs: input float32 (batch, height, width, padded channels), weights and bias as `pack` makes them, the
        epilogue's operands. Outputs: (batch, height, width, padded channels), and where pooled the means float32
        (batch, padded channels).
        """
        shape = (self.batch, self.rows.size_out, self.columns.size_out, self._stride)
        inputs = (
            Argument("input", (self.batch, self.rows.size_in, self.columns.size_in, self._stride)),
            Argument("weights", (self._stride // self._vector.lanes, self._taps, self._vector.lanes)),
            Argument("bias", (self._stride,)),
            *self.epilogue.arguments(shape),
        )
        means = (Argument("means", (self.batch, self._stride)),) if self.pooled else ()
        return Kernel("depthwise", inputs, (Argument("output", shape, self.epilogue.dtype), *means), self._body)

    def pack(
        self, weights: npt.NDArray[np.float32], bias: npt.NDArray[np.float32] | None
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Weights float32 (channels, 1, height, width) and bias (channels) in the kernel's order."""
        full = np.zeros((self._stride, self._taps), np.float32)
        full[: self.channels] = weights.reshape(self.channels, self._taps)
        blocks = full.reshape(-1, self._vector.lanes, self._taps).transpose(0, 2, 1)
        padded_bias = np.zeros(self._stride, np.float32)
        if bias is not None:
            padded_bias[: self.channels] = bias
        return np.ascontiguousarray(blocks), padded_bias

    def _body(self, batch: Expr, source: Buffer, weights: Buffer, bias: Buffer, *rest: Buffer) -> None:
        means = rest[-1] if self.pooled else None
        *operands, output = rest[:-1] if self.pooled else rest
        call = _Call(self, source, weights, bias, list(operands), output)
        lanes, height = self._vector.lanes, self.rows.size_out
        blocks = self._stride // lanes
        work = height * self.columns.size_out * self._taps * self._stride
        samples = batch if self.batch is None else self.batch
        if means is None:
            with loop(samples * blocks * height, work) as index:
                call.row(index // (blocks * height), index // height % blocks, index % height, None)
            return
        with loop(samples * blocks, work) as index:
            total = self._vector.registers(1)
            total[0] = self._vector.splat(0.0)
            with T.serial(0, height) as row:
                call.row(index // blocks, index % blocks, row, total)
            scale = self._vector.splat(1.0 / (height * self.columns.size_out))
            self._vector.store(means, index * lanes, total[0] * scale)


@dataclass(frozen=True)
class _Call:
    """The kernel's tensors, and the code of one output row."""

    layer: Depthwise
    source: Buffer
    weights: Buffer
    bias: Buffer
    operands: list[Buffer]
    output: Buffer

    def row(self, sample: Expr, block: Expr, row: Expr, total: Registers | None) -> None:
        """All pixels of a row of one channel vector; their sum is added to `total`."""
        columns = self.layer.columns
        for span in spans(columns, tile_width(columns.size_out, self.layer.isa.registers - columns.taps - 3)):
            if span.tiles == 1:
                self._tile(sample, block, row, span, span.first, total)
                continue
            with T.serial(0, span.tiles) as tile:
                self._tile(sample, block, row, span, span.first + tile * span.width, total)

    def _tile(self, sample: Expr, block: Expr, row: Expr, span: Span, first: Expr, total: Registers | None) -> None:
        layer, vector = self.layer, self.layer._vector
        rows, columns, lanes = layer.rows, layer.columns, vector.lanes
        sums = vector.registers(span.width)
        for pixel in range(span.width):
            sums[pixel] = vector.load(self.bias, block * lanes)
        self._fetch_ahead(sample, block, row, span, first)
        low, high = rows_inside(rows, row)
        with T.serial(0, high - low) as offset:
            tap = low + offset
            source_row = row * rows.stride - rows.pad_begin + tap * rows.dilation
            taps = vector.registers(columns.taps)
            for column in range(columns.taps):
                at = (block * layer._taps + tap * columns.taps + column) * lanes
                taps[column] = vector.load(self.weights, at)
            base = ((sample * rows.size_in + source_row) * columns.size_in + first * columns.stride) * layer._stride
            for position, uses in touched(columns, span):
                value = vector.keep(vector.load(self.source, base + position * layer._stride + block * lanes))
                for pixel, column in uses:
                    sums[pixel] = vector.multiply_add(value, taps[column], sums[pixel])
        for pixel in range(span.width):
            at = ((sample * rows.size_out + row) * columns.size_out + first + pixel) * layer._stride + block * lanes
            value = layer.epilogue.apply(
                vector, sums[pixel], self.operands, Place(at, block * lanes, sample), layer._stride
            )
            if total is not None:
                value = vector.keep(value)
                total[0] = total[0] + value
            layer.epilogue.store(vector, self.output, at, value)

    def _fetch_ahead(self, sample: Expr, block: Expr, row: Expr, span: Span, first: Expr) -> None:
        """Have the values fetched that come next: they lie a whole pixel apart, which processors do not foresee.

        Those of the next channels where a whole image of this block fits the first-level cache, else the next rows'.
        """
        layer, vector = self.layer, self.layer._vector
        rows, columns, lanes = layer.rows, layer.columns, vector.lanes
        small = rows.size_in * columns.size_in <= _SMALL_IMAGE
        top = row * rows.stride + (0 if small else rows.taps - rows.pad_begin)
        channel = (block + 1 if small else block) * lanes
        for down in range(rows.stride):
            start = ((sample * rows.size_in + top + down) * columns.size_in + first * columns.stride) * layer._stride
            for along in range(span.width * columns.stride):
                vector.prefetch(self.source, start + along * layer._stride + channel)
        each = -(-layer._taps // rows.size_out)  # of the next channels' weights, a share with every row
        for index in range(each if small else 0):
            vector.prefetch(self.weights, ((block + 1) * layer._taps + row * each + index) * lanes)


def tile_width(outputs: int, most: int) -> int:
    """Outputs of a row that are computed together: the fewest, most even tiles of at most `most` or 14 pixels."""
    widest = max(min(most, _WIDEST), 1)
    return -(-outputs // -(-outputs // widest))
