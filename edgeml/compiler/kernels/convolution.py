"""Convolution with a window, dense or in groups: sums of a row of pixels x several channel vectors in registers."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
from tvm.script.ir_builder import tirx as T

from edgeml.compiler.isa import VectorISA
from edgeml.compiler.kernels.epilogue import Epilogue, Place, overlapping, padded
from edgeml.compiler.kernels.prim_func import Argument, Kernel, loop
from edgeml.compiler.kernels.tile import Tile, choose_tile
from edgeml.compiler.kernels.vector import Buffer, Expr, Registers, Vector
from edgeml.compiler.kernels.window import Axis, Span, rows_inside, spans

_LINE_ELEMENTS = 16  # float32 values in a cache line


@dataclass(frozen=True, kw_only=True)
class Convolution:
    """One convolution in float32.

    Attributes:
        isa: the vector unit.
        batch: samples; None is known at run time only.
        rows: the window along the height.
        columns: the window along the width.
        channels_in: input channels, without padding.
        channels_out: output channels, without padding.
        groups: groups of channels that do not see each other; output channels of each fill whole vectors.
        planar: whether the input is (batch, channels, height, width) as the model has it, for the first layer.
        epilogue: what follows the sums.
    """

    isa: VectorISA
    batch: int | None
    rows: Axis
    columns: Axis
    channels_in: int
    channels_out: int
    groups: int = 1
    planar: bool = False
    epilogue: Epilogue = field(default_factory=Epilogue)

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
        """Input channels of a group."""
        return self.channels_in // self.groups

    @property
    def _taps(self) -> int:
        return self.rows.taps * self.columns.taps

    @cached_property
    def _tile(self) -> Tile:
        """Tile of one group's output channels."""
        vectors = self._stride_out // self._vector.lanes // self.groups
        depth, unrolled = self._depth * self._taps, self.columns.taps if self.planar else 1
        return choose_tile(
            self.isa,
            self.columns.size_out,
            vectors,
            depth=depth,
            slow_epilogue=self.epilogue.is_slow,
            unrolled=unrolled,
        )

    @property
    def _blocks(self) -> int:
        return self.groups * self._tile.blocks

    def kernel(self) -> Kernel:
        """The kernel; reads input, weights, bias, operands.

        Its inputs: input float32 (batch, height, width, padded channels_in), or (batch, channels_in, height, width)
        where planar; weights and bias as `pack` makes them; the epilogue's operands. Output (batch, height, width,
        padded channels_out).
        """
        shape = (self.batch, self.rows.size_out, self.columns.size_out, self._stride_out)
        height, width = self.rows.size_in, self.columns.size_in
        planar, packed = (self.batch, self.channels_in, height, width), (self.batch, height, width, self._stride_in)
        inputs = (
            Argument("input", planar if self.planar else packed, model_layout=self.planar),
            Argument("weights", (self._blocks, self._taps, self._depth, self._tile.vectors * self._vector.lanes)),
            Argument("bias", (self._stride_out,)),
            *self.epilogue.arguments(shape),
        )
        return Kernel("convolution", inputs, (Argument("output", shape, self.epilogue.dtype),), self._body)

    def pack(
        self, weights: npt.NDArray[np.float32], bias: npt.NDArray[np.float32] | None
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Weights float32 (channels_out, channels_in / groups, height, width) and bias in the kernel's order."""
        lanes, tile = self._vector.lanes, self._tile
        full = np.zeros((self._taps, self._depth, self._stride_out), np.float32)
        full[:, :, : self.channels_out] = weights.reshape(self.channels_out, self._depth, -1).transpose(2, 1, 0)
        starts = [
            (group * tile.total_vectors + tile.start(block)) * lanes
            for group in range(self.groups)
            for block in range(tile.blocks)
        ]
        packed = np.stack([full[:, :, start : start + tile.vectors * lanes] for start in starts])
        padded_bias = np.zeros(self._stride_out, np.float32)
        if bias is not None:
            padded_bias[: self.channels_out] = bias
        return np.ascontiguousarray(packed), padded_bias

    def _body(self, batch: Expr, source: Buffer, weights: Buffer, bias: Buffer, *rest: Buffer) -> None:
        *operands, output = rest
        height, per_sample = self.rows.size_out, self.rows.size_out * self._blocks
        work = per_sample * self.columns.size_out * self._taps * self._depth * self._tile.vectors * self._vector.lanes
        with loop((batch if self.batch is None else self.batch) * per_sample, work) as index:
            sample, block, row = index // per_sample, index % per_sample // height, index % height
            place = _Place(sample, block, row)
            for span in spans(self.columns, self._tile.rows):
                if span.tiles == 1:
                    self._tile_body(place, span, span.first, source, weights, bias, operands, output)
                    continue
                with T.serial(0, span.tiles) as tile:
                    first = span.first + tile * span.width
                    self._tile_body(place, span, first, source, weights, bias, operands, output)

    def _tile_body(
        self,
        place: _Place,
        span: Span,
        first: Expr,
        source: Buffer,
        weights: Buffer,
        bias: Buffer,
        operands: list[Buffer],
        output: Buffer,
    ) -> None:
        vector, lanes, vectors = self._vector, self._vector.lanes, self._tile.vectors
        group, inner = place.block // self._tile.blocks, place.block % self._tile.blocks
        vector_of_group = overlapping(inner, vectors, self._tile.total_vectors)
        channel = (group * self._tile.total_vectors + vector_of_group) * lanes
        sums = vector.registers(span.width * vectors)
        for index in range(span.width * vectors):
            sums[index] = vector.load(bias, channel + index % vectors * lanes)
        if self.planar:
            self._fetch_next_rows(place, span, first, source)
        low, high = rows_inside(self.rows, place.row)
        # Planes of the model's own input lie far apart: one after the other. Packed channels are neighbours.
        outer = T.serial(0, self._depth) if self.planar else nullcontext(None)
        with outer as plane, T.serial(0, high - low) as offset:
            row_tap = low + offset
            source_row = place.row * self.rows.stride - self.rows.pad_begin + row_tap * self.rows.dilation
            base = self._source_at(place.sample, source_row, first * self.columns.stride, group)
            for tap in range(self.columns.taps):
                at = ((place.block * self.rows.taps + row_tap) * self.columns.taps + tap) * self._depth
                pixels = _Pixels(
                    [
                        (pixel, self.columns.source(pixel, tap))
                        for pixel in range(span.width)
                        if span.tiles > 1 or self.columns.inside(span.first + pixel, tap)
                    ]
                )
                if not pixels.offsets:
                    continue
                if plane is not None:
                    self._products(sums, source, base, plane, 1, pixels, weights, at * vectors * lanes)
                else:
                    self._channels(sums, source, base, pixels, weights, at * vectors * lanes)
        for index in range(span.width * vectors):
            pixel = (place.sample * self.rows.size_out + place.row) * self.columns.size_out + first + index // vectors
            at = pixel * self._stride_out + channel + index % vectors * lanes
            where = Place(at, channel + index % vectors * lanes, place.sample)
            value = self.epilogue.apply(vector, sums[index], operands, where, self._stride_out)
            self.epilogue.store(vector, output, at, value)

    def _fetch_next_rows(self, place: _Place, span: Span, first: Expr, source: Buffer) -> None:
        """Have the image's rows fetched that the next row of outputs reads besides this one's."""
        group = place.block // self._tile.blocks
        for down in range(self.rows.stride):
            row = place.row * self.rows.stride - self.rows.pad_begin + self.rows.taps + down
            at = self._source_at(place.sample, row, first * self.columns.stride, group)
            for plane in range(self._depth):
                for along in range(0, span.width * self.columns.stride, _LINE_ELEMENTS):
                    offset = plane * self.rows.size_in * self.columns.size_in + along
                    self._vector.prefetch(source, at + offset)

    def _source_at(self, sample: Expr, row: Expr, column: Expr, group: Expr) -> Expr:
        """Index of the first input channel of a group at a pixel."""
        height, width = self.rows.size_in, self.columns.size_in
        if self.planar:
            return ((sample * self.channels_in + group * self._depth) * height + row) * width + column
        return ((sample * height + row) * width + column) * self._stride_in + group * self._depth

    def _channels(
        self, sums: Registers, source: Buffer, base: Expr, pixels: _Pixels, weights: Buffer, weights_at: Expr
    ) -> None:
        """Add one tap's products over the input channels."""
        lanes = self._vector.lanes
        whole = 1 if self.isa.broadcast_operand else lanes
        if self._depth // whole > 0:
            with T.serial(0, self._depth // whole) as channel:
                self._products(sums, source, base, channel * whole, whole, pixels, weights, weights_at)
        for channel in range(self._depth // whole * whole, self._depth):
            self._products(sums, source, base, channel, 1, pixels, weights, weights_at)

    def _products(
        self,
        sums: Registers,
        source: Buffer,
        base: Expr,
        channel: Expr,
        count: int,
        pixels: _Pixels,
        weights: Buffer,
        weights_at: Expr,
    ) -> None:
        vector, lanes, vectors = self._vector, self._vector.lanes, self._tile.vectors
        plane = self.rows.size_in * self.columns.size_in
        operands = {
            pixel: vector.operands(
                source,
                base + channel * plane + offset if self.planar else base + offset * self._stride_in + channel,
                count,
            )
            for pixel, offset in pixels.offsets
        }
        for index in range(count):
            row_of_weights = vector.registers(vectors)
            for column in range(vectors):
                at = weights_at + (channel + index) * vectors * lanes + column * lanes
                row_of_weights[column] = vector.load(weights, at)
            for pixel, operand in operands.items():
                for column in range(vectors):
                    at = pixel * vectors + column
                    sums[at] = vector.multiply_add(operand(index), row_of_weights[column], sums[at])


@dataclass(frozen=True)
class _Place:
    """Which row of which sample, and which block of output channels."""

    sample: Expr
    block: Expr
    row: Expr


@dataclass(frozen=True)
class _Pixels:
    """Pixels of a tile that a tap touches, each with its input column relative to the tile's."""

    offsets: list[tuple[int, int]]
