"""Convolution with a window on 8-bit codes, dense or in groups: exact sums in int32, then float32 as QDQ has it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
from tvm import tirx
from tvm.script.ir_builder import tirx as T

from edgeml.compiler.isa import VectorISA
from edgeml.compiler.kernels.borders import Borders
from edgeml.compiler.kernels.dot_product import WORD, DotProduct
from edgeml.compiler.kernels.epilogue import Epilogue, Place, Quantization, overlapping, padded
from edgeml.compiler.kernels.prim_func import Argument, Kernel, loop
from edgeml.compiler.kernels.tile import Tile
from edgeml.compiler.kernels.vector import Buffer, Expr, Registers, Vector
from edgeml.compiler.kernels.window import Axis, Span, rows_inside, spans


@dataclass(frozen=True, kw_only=True)
class QuantizedConvolution:
    """One convolution on codes.

    Attributes:
        isa: the vector unit.
        batch: samples; None is known at run time only.
        rows: the window along the height.
        columns: the window along the width.
        channels_in: input channels, without padding.
        channels_out: output channels, without padding.
        source: the input's code; what lies outside the image is its zero point.
        groups: groups of channels that do not see each other; output channels of each fill whole vectors.
        epilogue: what follows the sums.
    """

    isa: VectorISA
    batch: int | None
    rows: Axis
    columns: Axis
    channels_in: int
    channels_out: int
    source: Quantization
    groups: int = 1
    epilogue: Epilogue = field(default_factory=Epilogue)

    @cached_property
    def _vector(self) -> Vector:
        return Vector(self.isa)

    @cached_property
    def _dot(self) -> DotProduct:
        return DotProduct(self._vector, self.source.dtype)

    @cached_property
    def _borders(self) -> Borders:
        return Borders(self.rows, self.columns)

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

    @cached_property
    def _words(self) -> int:
        """Words of codes that hold a group's channels, wherever in a word the group begins."""
        return max(-(-(group * self._depth % WORD + self._depth) // WORD) for group in range(min(self.groups, WORD)))

    @property
    def _last_word(self) -> int:
        """The last channel at which a group's words may begin without leaving the pixel."""
        return self._stride_in - self._words * WORD

    @cached_property
    def _tile(self) -> Tile:
        """Tile of one group's output channels."""
        vectors = self._stride_out // self._vector.lanes // self.groups
        words = self._words * self._taps
        return self._dot.tile(self.columns.size_out, vectors, words=words, slow_epilogue=self.epilogue.is_slow)

    @property
    def _blocks(self) -> int:
        return self.groups * self._tile.blocks

    @property
    def _taps(self) -> int:
        return self.rows.taps * self.columns.taps

    @property
    def _word_of_weights(self) -> int:
        """Elements that belong to one word of codes in one block of output channels."""
        return self._tile.vectors * self._vector.lanes * WORD

    def kernel(self) -> Kernel:
        """The kernel; reads input (batch, height, width, padded channels_in), what `pack` makes, operands.

        Output (batch, height, width, padded channels_out). The contents of padding channels do not matter.
        """
        shape = (self.batch, self.rows.size_out, self.columns.size_out, self._stride_out)
        source = (self.batch, self.rows.size_in, self.columns.size_in, self._stride_in)
        weights = (self._blocks, self._taps, self._words, self._word_of_weights)
        inputs = (
            Argument("input", source, self.source.dtype),
            Argument("weights", weights, self._dot.weights_dtype),
            Argument("starts", (self._borders.cases, self._stride_out), "int32"),
            Argument("scales", (self._stride_out,)),
            Argument("bias", (self._stride_out,)),
            *self.epilogue.arguments(shape),
        )
        return Kernel("quantized_convolution", inputs, (Argument("output", shape, self.epilogue.dtype),), self._body)

    def pack(
        self, weights: npt.NDArray[np.int8], scales: npt.NDArray[np.float32], bias: npt.NDArray[np.float32] | None
    ) -> tuple[npt.NDArray[np.generic], ...]:
        """What the kernel reads after its input.

        Args:
            weights: int8 (channels_out, channels_in / groups, height, width), zero point 0.
            scales: float32 (channels_out), of the weights.
            bias: float32 (channels_out).

        Returns:
            Weights by blocks, what the sums start with (so that the input's zero point cancels) by `Borders.cases`,
            the scale of the sums, the bias.
        """
        lanes, tile = self._vector.lanes, self._tile
        full = np.zeros((self._taps, self._words * WORD, self._stride_out), np.int8)
        taps = weights.reshape(self.channels_out, self._depth, self._taps).transpose(2, 1, 0)
        per_group = self.channels_out // self.groups
        for group in range(self.groups):
            first = group * self._depth
            offset = first - min(first // WORD * WORD, self._last_word)
            outputs = slice(group * per_group, (group + 1) * per_group)
            full[:, offset : offset + self._depth, outputs] = taps[:, :, outputs]
        begins = [
            (group * tile.total_vectors + tile.start(block)) * lanes
            for group in range(self.groups)
            for block in range(tile.blocks)
        ]
        packed = self._dot.pack(np.stack([full[:, :, begin : begin + tile.vectors * lanes] for begin in begins]))
        sums = full.sum(1, dtype=np.int64).reshape(self.rows.taps, self.columns.taps, self._stride_out)
        starts = self._borders.starts(sums, self._dot.zero_point(self.source.zero_point))
        channels = np.zeros((2, self._stride_out), np.float32)
        channels[0, : self.channels_out] = scales.astype(np.float64) * self.source.scale
        if bias is not None:
            channels[1, : self.channels_out] = bias
        return packed, starts, channels[0].copy(), channels[1].copy()

    def _body(self, batch: Expr, source: Buffer, weights: Buffer, *rest: Buffer) -> None:
        starts, scales, bias, *operands, output = rest
        call = _Call(self, source, weights, starts, scales, bias, operands, output)
        height, per_sample = self.rows.size_out, self.rows.size_out * self._blocks
        work = per_sample * self.columns.size_out * self._taps * self._words * self._word_of_weights // WORD
        with loop((batch if self.batch is None else self.batch) * per_sample, work) as index:
            place = _Place(index // per_sample, index % per_sample // height, index % height)
            for span in spans(self.columns, self._tile.rows):
                if span.tiles == 1:
                    call.tile(place, span, span.first)
                    continue
                with T.serial(0, span.tiles) as tile:
                    call.tile(place, span, span.first + tile * span.width)


@dataclass(frozen=True)
class _Place:
    """Which row of which sample, and which block of output channels."""

    sample: Expr
    block: Expr
    row: Expr


@dataclass(frozen=True)
class _Call:
    """The kernel's tensors, and the code of one tile."""

    layer: QuantizedConvolution
    source: Buffer
    weights: Buffer
    starts: Buffer
    scales: Buffer
    bias: Buffer
    operands: list[Buffer]
    output: Buffer

    def tile(self, place: _Place, span: Span, first: Expr) -> None:
        """All sums of the pixels of one tile of a row, for one block of output channels."""
        layer, vector, lanes = self.layer, self.layer._vector, self.layer._vector.lanes
        tile, stride, rows, columns = layer._tile, layer._stride_out, layer.rows, layer.columns
        group, inner = place.block // tile.blocks, place.block % tile.blocks
        channel = (group * tile.total_vectors + overlapping(inner, tile.vectors, tile.total_vectors)) * lanes
        sums = vector.registers(span.width * tile.vectors, vector.of("int32"))
        for index in range(span.width * tile.vectors):
            pixel = index // tile.vectors
            case = layer._borders.case(place.row, None if span.tiles > 1 else span.first + pixel)
            sums[index] = vector.load(self.starts, case * stride + channel + index % tile.vectors * lanes)
        low, high = rows_inside(rows, place.row)
        with T.serial(0, high - low) as offset:
            tap = low + offset
            source_row = place.row * rows.stride - rows.pad_begin + tap * rows.dilation
            base = self._source_at(place.sample, source_row, first * columns.stride, group)
            for column in range(columns.taps):
                pixels = {
                    pixel: columns.source(pixel, column)
                    for pixel in range(span.width)
                    if span.tiles > 1 or columns.inside(span.first + pixel, column)
                }
                if pixels:
                    weights_at = ((place.block * rows.taps + tap) * columns.taps + column) * layer._words
                    self._channels(sums, base, pixels, weights_at)
        for index in range(span.width * tile.vectors):
            at = channel + index % tile.vectors * lanes
            pixel = (place.sample * rows.size_out + place.row) * columns.size_out + first + index // tile.vectors
            value = sums[index].astype(vector.dtype) * vector.load(self.scales, at) + vector.load(self.bias, at)
            where = Place(pixel * stride + at, at, place.sample)
            value = layer.epilogue.apply(vector, value, self.operands, where, stride)
            layer.epilogue.store(vector, self.output, where.index, value)

    def _source_at(self, sample: Expr, row: Expr, column: Expr, group: Expr) -> Expr:
        """Index of the word with the first input channel of a group, at a pixel."""
        layer = self.layer
        pixel = (sample * layer.rows.size_in + row) * layer.columns.size_in + column
        begin: Expr = 0
        if layer.groups > 1:
            first = group * layer._depth
            begin = first if layer._depth % WORD == 0 else tirx.Min(first // WORD * WORD, layer._last_word)
        return pixel * layer._stride_in + begin

    def _channels(self, sums: Registers, base: Expr, pixels: dict[int, int], weights_at: Expr) -> None:
        """Add one tap's products over the input channels; `pixels` have their input column relative to the tile's."""
        layer = self.layer

        def add(word: Expr, words: int) -> None:
            places = {pixel: base + column * layer._stride_in + word * WORD for pixel, column in pixels.items()}
            at = (weights_at + word) * layer._word_of_weights
            layer._dot.multiply(sums, self.source, places, self.weights, at, words, layer._tile.vectors)

        step = layer._dot.words_at_once
        if layer._words // step > 1:
            with T.serial(0, layer._words // step) as group:
                add(group * step, step)
        elif layer._words >= step:
            add(0, step)
        for word in range(layer._words // step * step, layer._words):
            add(word, 1)
