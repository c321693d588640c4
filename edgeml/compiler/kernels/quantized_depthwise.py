"""Depthwise convolution on 8-bit codes: dot products down the columns, or float32 multiply-adds; both exact."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
from tvm.script.ir_builder import tirx as T

from edgeml.compiler.isa import VectorISA
from edgeml.compiler.kernels.borders import Borders
from edgeml.compiler.kernels.column_products import ColumnProducts
from edgeml.compiler.kernels.depthwise import tile_width
from edgeml.compiler.kernels.epilogue import Epilogue, Place, Quantization, padded
from edgeml.compiler.kernels.prim_func import Argument, Kernel, loop
from edgeml.compiler.kernels.vector import Buffer, Expr, Registers, Vector
from edgeml.compiler.kernels.window import Axis, Span, rows_inside, spans, touched

# Whole numbers up to here are exact in float32; a product of two codes is at most 255 * 128.
_EXACT = 1 << 24
_LARGEST_PRODUCT = 255 * 128
# Pixels. A cache line holds several channel vectors of codes: of a small image all lines of one vector stay in the
# first-level cache, and its weights are read once; of a larger one only those of a few rows, so that rows come first.
_SMALL_IMAGE = 512


@dataclass(frozen=True, kw_only=True)
class QuantizedDepthwise:
    """One depthwise convolution on codes.

    Attributes:
        isa: the vector unit.
        batch: samples; None is known at run time only.
        rows: the window along the height.
        columns: the window along the width.
        channels: channels, without padding.
        source: the input's code; what lies outside the image is its zero point.
        epilogue: what follows the sums.
    """

    isa: VectorISA
    batch: int | None
    rows: Axis
    columns: Axis
    channels: int
    source: Quantization
    epilogue: Epilogue = field(default_factory=Epilogue)

    @cached_property
    def _vector(self) -> Vector:
        return Vector(self.isa)

    @cached_property
    def _borders(self) -> Borders:
        return Borders(self.rows, self.columns)

    @cached_property
    def _stride(self) -> int:
        return padded(self.channels, self._vector)

    @property
    def _taps(self) -> int:
        return self.rows.taps * self.columns.taps

    @cached_property
    def _columns(self) -> ColumnProducts | None:
        """Dot products down the columns, where the processor has them and the weights fit its registers."""
        products = ColumnProducts(self._vector, self.source.dtype, self.rows, self.columns, self._stride)
        return products if products.fits else None

    @property
    def _type(self) -> str:
        """Type of the sums: float32 while every partial sum, the start included, is exact in it."""
        return "float32" if not self._columns and 2 * self._taps * _LARGEST_PRODUCT < _EXACT else "int32"

    @property
    def _weights(self) -> Argument:
        blocks = self._stride // self._vector.lanes
        if self._columns:
            return Argument("weights", (blocks, *self._columns.weights_shape), self._columns.weights_dtype)
        return Argument("weights", (blocks, self._taps, self._vector.lanes), self._type)

    def kernel(self) -> Kernel:
        """The kernel; reads input (batch, height, width, padded channels), what `pack` makes, operands.

        Output (batch, height, width, padded channels). The contents of padding channels do not matter.
        """
        shape = (self.batch, self.rows.size_out, self.columns.size_out, self._stride)
        source = (self.batch, self.rows.size_in, self.columns.size_in, self._stride)
        inputs = (
            Argument("input", source, self.source.dtype),
            self._weights,
            Argument("starts", (self._borders.cases, self._stride), self._type),
            Argument("scales", (self._stride,)),
            Argument("bias", (self._stride,)),
            *self.epilogue.arguments(shape),
        )
        return Kernel("quantized_depthwise", inputs, (Argument("output", shape, self.epilogue.dtype),), self._body)

    def pack(
        self, weights: npt.NDArray[np.int8], scales: npt.NDArray[np.float32], bias: npt.NDArray[np.float32] | None
    ) -> tuple[npt.NDArray[np.generic], ...]:
        """What the kernel reads after its input.

        Args:
            weights: int8 (channels, 1, height, width), zero point 0.
            scales: float32 (channels), of the weights.
            bias: float32 (channels).

        Returns:
            Weights by channel vectors, what the sums start with (so that the input's zero point cancels) by
            `Borders.cases`, the scale of the sums, the bias.
        """
        full = np.zeros((self._stride, self._taps), np.int8)
        full[: self.channels] = weights.reshape(self.channels, self._taps)
        blocks = full.reshape(-1, self._vector.lanes, self._taps).transpose(0, 2, 1)
        sums = full.T.reshape(self.rows.taps, self.columns.taps, self._stride).astype(np.int64)
        zero_point = self.source.zero_point
        if self._columns:
            packed, zero_point = self._columns.pack(blocks), self._columns.zero_point(zero_point)
        else:
            packed = np.ascontiguousarray(blocks.astype(self._type))
        starts = self._borders.starts(sums, zero_point)
        channels = np.zeros((2, self._stride), np.float32)
        channels[0, : self.channels] = scales.astype(np.float64) * self.source.scale
        if bias is not None:
            channels[1, : self.channels] = bias
        return packed, starts.astype(self._type), channels[0].copy(), channels[1].copy()

    def _body(self, batch: Expr, source: Buffer, weights: Buffer, *rest: Buffer) -> None:
        starts, scales, bias, *operands, output = rest
        call = _Call(self, source, weights, starts, scales, bias, operands, output)
        height, columns = self.rows.size_out, self.columns
        blocks = self._stride // self._vector.lanes
        work = height * columns.size_out * self._taps * self._stride
        taken = self._columns.registers if self._columns else columns.taps + 3
        widest = tile_width(columns.size_out, self.isa.registers - taken)
        with loop((batch if self.batch is None else self.batch) * blocks * height, work) as index:
            if self.rows.size_in * columns.size_in > _SMALL_IMAGE:
                place = _Place(index // (blocks * height), index % blocks, index // blocks % height)
            else:
                place = _Place(index // (blocks * height), index // height % blocks, index % height)
            for span in spans(columns, widest):
                if span.tiles == 1:
                    call.tile(place, span, span.first)
                    continue
                with T.serial(0, span.tiles) as tile:
                    call.tile(place, span, span.first + tile * span.width)


@dataclass(frozen=True)
class _Place:
    """Which row of which sample, and which vector of channels."""

    sample: Expr
    block: Expr
    row: Expr


@dataclass(frozen=True)
class _Call:
    """The kernel's tensors, and the code of one tile."""

    layer: QuantizedDepthwise
    source: Buffer
    weights: Buffer
    starts: Buffer
    scales: Buffer
    bias: Buffer
    operands: list[Buffer]
    output: Buffer

    def tile(self, place: _Place, span: Span, first: Expr) -> None:
        """All sums of the pixels of one tile of a row, for one vector of channels."""
        layer, vector = self.layer, self.layer._vector
        rows, columns, lanes, stride = layer.rows, layer.columns, vector.lanes, layer._stride
        kind, channel = vector.of(layer._type), place.block * lanes
        sums = vector.registers(span.width, kind)
        for pixel in range(span.width):
            case = layer._borders.case(place.row, None if span.tiles > 1 else span.first + pixel)
            sums[pixel] = vector.load(self.starts, case * stride + channel)
        if layer._columns:
            layer._columns.add(sums, self.source, self.weights, place.sample, place.block, place.row, span, first)
        else:
            self._multiply_adds(sums, place, span, first)
        for pixel in range(span.width):
            at = ((place.sample * rows.size_out + place.row) * columns.size_out + first + pixel) * stride + channel
            value = sums[pixel].astype(vector.dtype) * vector.load(self.scales, channel)
            value = value + vector.load(self.bias, channel)
            where = Place(at, channel, place.sample)
            value = layer.epilogue.apply(vector, value, self.operands, where, stride)
            layer.epilogue.store(vector, self.output, at, value)

    def _multiply_adds(self, sums: Registers, place: _Place, span: Span, first: Expr) -> None:
        """Add the products row by row of the window; each code is loaded and converted once."""
        layer, vector = self.layer, self.layer._vector
        rows, columns, lanes = layer.rows, layer.columns, vector.lanes
        kind = vector.of(layer._type)
        low, high = rows_inside(rows, place.row)
        with T.serial(0, high - low) as offset:
            tap = low + offset
            taps = vector.registers(columns.taps, kind)
            for column in range(columns.taps):
                at = (place.block * layer._taps + tap * columns.taps + column) * lanes
                taps[column] = vector.load(self.weights, at)
            source_row = place.row * rows.stride - rows.pad_begin + tap * rows.dilation
            base = (place.sample * rows.size_in + source_row) * columns.size_in + first * columns.stride
            for position, uses in touched(columns, span):
                at = (base + position) * layer._stride + place.block * lanes
                code = vector.load(self.source, at).astype(vector.of("int32"))
                value = vector.keep(code.astype(kind), kind)
                for pixel, column in uses:
                    sums[pixel] = sums[pixel] + value * taps[column]
