"""Convolution of signs with signs: bits that differ are counted, which stands for 32 multiplications at a time."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
from tvm import tirx
from tvm.script.ir_builder import tirx as T

from edgeml.compiler.isa import VectorISA
from edgeml.compiler.kernels.epilogue import Epilogue, Place, overlapping, padded
from edgeml.compiler.kernels.popcount import MOST_WORDS, WORD, Counters, Popcount, Words
from edgeml.compiler.kernels.prim_func import Argument, Kernel, loop
from edgeml.compiler.kernels.sign_bits import words_of
from edgeml.compiler.kernels.tile import Tile
from edgeml.compiler.kernels.vector import Buffer, Expr, Vector
from edgeml.compiler.kernels.window import Axis, Span, rows_inside, spans

_MOST_UNROLLED_WORDS = 4


@dataclass(frozen=True, kw_only=True)
class BinaryConvolution:
    """One convolution of values +1 and -1, which are bits 0 and 1; outside the image are zeros.

    A sum over n pairs of signs is n - 2 d, where d of them differ. Only taps inside the image are counted.

    Attributes:
        isa: the vector unit.
        batch: samples; None is known at run time only.
        rows: the window along the height.
        columns: the window along the width.
        channels_in: input channels.
        channels_out: output channels, without padding.
        groups: groups of channels that do not see each other.
        epilogue: what follows scale and bias.
    """

    isa: VectorISA
    batch: int | None
    rows: Axis
    columns: Axis
    channels_in: int
    channels_out: int
    groups: int = 1
    epilogue: Epilogue = field(default_factory=Epilogue)

    @cached_property
    def _vector(self) -> Vector:
        return Vector(self.isa)

    @cached_property
    def _popcount(self) -> Popcount:
        return Popcount(self._vector, self._tile.vectors)

    @cached_property
    def _stride_out(self) -> int:
        return padded(self.channels_out, self._vector)

    @property
    def _depth(self) -> int:
        """Channels that a filter sees."""
        return self.channels_in // self.groups

    @cached_property
    def _sections(self) -> int:
        """Parts of the output channels, each of whole groups and whole vectors, that are computed apart."""
        per_group = self.channels_out // self.groups
        together = (n for n in range(1, self.groups + 1) if self.groups % n == 0)
        return next((self.groups // n for n in together if per_group * n % self._vector.lanes == 0), 1)

    @property
    def _section_channels(self) -> int:
        """Channels that the filters of a section see together."""
        return self.channels_in // self._sections

    @cached_property
    def _words(self) -> int:
        """Words that hold a section's channels, wherever in a word they begin."""
        depth = self._section_channels
        return max(words_of(section * depth % WORD + depth) for section in range(self._sections))

    def _first_word(self, section: Expr) -> Expr:
        """The word that a section begins with; its words must not leave the pixel."""
        first, last = section * self._section_channels // WORD, words_of(self.channels_in) - self._words
        if isinstance(first, int):
            return min(first, last)
        return first if self._section_channels % WORD == 0 else tirx.Min(first, last)

    @cached_property
    def _masked(self) -> bool:
        """Whether a filter's words hold channels that it does not see."""
        return self.groups > 1 and (self._sections < self.groups or self._depth % WORD > 0)

    @cached_property
    def _tile(self) -> Tile:
        """Tile of one section's output channels."""
        vectors = self._stride_out // self._vector.lanes // self._sections
        return Popcount(self._vector).tile(
            self.columns.size_out,
            vectors,
            words=self._words * self._taps,
            unrolled=self.columns.taps * (self._words if self._words <= _MOST_UNROLLED_WORDS else 1),
            slow_epilogue=self.epilogue.is_slow,
        )

    @property
    def _taps(self) -> int:
        return self.rows.taps * self.columns.taps

    @property
    def _blocks(self) -> int:
        return self._sections * self._tile.blocks

    @property
    def _row_of_weights(self) -> int:
        """Words of weights that belong to one word of activations."""
        return self._tile.vectors * self._vector.lanes

    def kernel(self) -> Kernel:
        """The kernel; reads sign bits as `SignBits` writes them, what `pack` makes, and the epilogue's operands.

        Output (batch, height, width, padded channels_out). The contents of padding channels do not matter.
        """
        shape = (self.batch, self.rows.size_out, self.columns.size_out, self._stride_out)
        source = (self.batch, self.rows.size_in, self.columns.size_in, words_of(self.channels_in))
        weights = (self._blocks, self._taps, self._words, self._row_of_weights)
        inputs = (
            Argument("input", source, "uint32"),
            Argument("weights", weights, "uint32"),
            *([Argument("mask", weights, "uint32")] if self._masked else []),
            Argument("scale", (self._stride_out,)),
            Argument("bias", (self._stride_out,)),
            *self.epilogue.arguments(shape),
        )
        return Kernel("binary_convolution", inputs, (Argument("output", shape, self.epilogue.dtype),), self._body)

    def pack(
        self,
        negative: npt.NDArray[np.uint8],
        scale: npt.NDArray[np.float32],
        bias: npt.NDArray[np.float32],
    ) -> tuple[npt.NDArray[np.generic], ...]:
        """What the kernel reads after its input.

        Args:
            negative: uint8 (channels_out, channels_in / groups, height, width): 1 for a weight of -1, 0 for one of +1.
            scale: float32 (channels_out), factor of the sums.
            bias: float32 (channels_out).

        Returns:
            Words of weights, of masks where groups need them, and scale and bias with padding.
        """
        filters = negative.reshape(self.channels_out, self._depth, self._taps)
        bits = self._in_words(filters)
        seen = [self._in_words(np.ones_like(filters))] if self._masked else []
        channels = np.zeros((2, self._stride_out), np.float32)
        channels[0, : self.channels_out], channels[1, : self.channels_out] = scale, bias
        return *map(self._in_blocks, [bits, *seen]), channels[0].copy(), channels[1].copy()

    def _in_words(self, filters: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint32]:
        """Bits (channels_out, depth, taps) as words (taps, words, padded channels_out), where a section has them."""
        bits = np.zeros((self._taps, self._words * WORD, self._stride_out), np.uint8)
        per_group = self.channels_out // self.groups
        for group in range(self.groups):
            begin = self._first_word(group * self._sections // self.groups) * WORD
            channels = slice(group * self._depth - begin, (group + 1) * self._depth - begin)
            outputs = slice(group * per_group, (group + 1) * per_group)
            bits[:, channels, outputs] = filters[outputs].transpose(2, 1, 0)
        packed = np.packbits(bits.reshape(self._taps, self._words, WORD, -1), axis=2, bitorder="little")
        return np.ascontiguousarray(packed.transpose(0, 1, 3, 2)).view("<u4")[..., 0].astype(np.uint32)

    def _in_blocks(self, words: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
        lanes, tile = self._vector.lanes, self._tile
        starts = [
            (section * tile.total_vectors + tile.start(block)) * lanes
            for section in range(self._sections)
            for block in range(tile.blocks)
        ]
        return np.ascontiguousarray(np.stack([words[:, :, start : start + tile.vectors * lanes] for start in starts]))

    def _body(self, batch: Expr, source: Buffer, weights: Buffer, *rest: Buffer) -> None:
        mask, rest = (rest[0], rest[1:]) if self._masked else (None, rest)
        scale, bias, *operands, output = rest
        call = _Call(self, source, weights, mask, scale, bias, operands, output)
        height, per_sample = self.rows.size_out, self.rows.size_out * self._blocks
        work = per_sample * self.columns.size_out * self._taps * self._words * self._row_of_weights
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

    layer: BinaryConvolution
    source: Buffer
    weights: Buffer
    mask: Buffer | None
    scale: Buffer
    bias: Buffer
    operands: list[Buffer]
    output: Buffer

    def tile(self, place: _Place, span: Span, first: Expr) -> None:
        """All sums of the pixels of one tile of a row, for one block of output channels."""
        layer, rows, columns = self.layer, self.layer.rows, self.layer.columns
        section = place.block // layer._tile.blocks
        words_of_row, words_of_tile = columns.taps * layer._words, layer._taps * layer._words
        counters = layer._popcount.counters(span.width)
        low, high = rows_inside(rows, place.row)
        inside = high - low if isinstance(low, int) and isinstance(high, int) else tirx.Max(high - low, 0)
        with T.serial(0, inside) as offset:
            tap = low + offset
            source_row = place.row * rows.stride - rows.pad_begin + tap * rows.dilation
            pixel_at = (place.sample * rows.size_in + source_row) * columns.size_in + first * columns.stride
            for column in range(columns.taps):
                if pixels := self._pixels(span, column):
                    weights_at = ((place.block * rows.taps + tap) * columns.taps + column) * layer._words
                    self._count(counters, pixel_at, layer._first_word(section), pixels, weights_at)
            if words_of_row <= MOST_WORDS < words_of_tile:
                counters.collect()
        if words_of_tile <= MOST_WORDS:
            counters.collect()
        self._store(place, span, first, inside, counters)

    def _pixels(self, span: Span, column: int) -> dict[int, int]:
        """The tile's pixels that a tap sees inside the image, each with its input column relative to the tile's."""
        columns = self.layer.columns
        return {
            pixel: columns.source(pixel, column)
            for pixel in range(span.width)
            if span.tiles > 1 or columns.inside(span.first + pixel, column)
        }

    def _count(
        self, counters: Counters, pixel_at: Expr, first_word: Expr, pixels: dict[int, int], weights_at: Expr
    ) -> None:
        """Count the words of one tap."""
        layer = self.layer
        per_pixel, words = words_of(layer.channels_in), layer._words

        def add(word: Expr) -> None:
            places = {pixel: (pixel_at + column) * per_pixel + first_word + word for pixel, column in pixels.items()}
            row = (weights_at + word) * layer._row_of_weights
            counters.add(Words(self.source, places, self.weights, row, self.mask))

        if words <= _MOST_UNROLLED_WORDS:
            for word in range(words):
                add(word)
        else:
            for begin in range(0, words, MOST_WORDS):
                with T.serial(begin, min(begin + MOST_WORDS, words)) as word:
                    add(word)
                if words > MOST_WORDS:
                    counters.collect()
        if words <= MOST_WORDS < layer.columns.taps * words:
            counters.collect()

    def _store(self, place: _Place, span: Span, first: Expr, inside: Expr, counters: Counters) -> None:
        """Turn the counts of a tile into results."""
        layer, vector, lanes = self.layer, self.layer._vector, self.layer._vector.lanes
        tile, stride, columns = layer._tile, layer._stride_out, layer.columns
        section, inner = place.block // tile.blocks, place.block % tile.blocks
        channel = (section * tile.total_vectors + overlapping(inner, tile.vectors, tile.total_vectors)) * lanes
        for index in range(span.width * tile.vectors):
            pixel = index // tile.vectors
            taps = sum(pixel in self._pixels(span, column) for column in range(columns.taps))
            pairs = vector.splat(tirx.const(taps * layer._depth, "int32") * inside)
            total = (pairs - counters.total[index] * vector.splat(2, "int32")).astype(vector.dtype)
            at = channel + index % tile.vectors * lanes
            value = vector.multiply_add(total, vector.load(self.scale, at), vector.load(self.bias, at))
            output_pixel = (place.sample * layer.rows.size_out + place.row) * columns.size_out + first + pixel
            where = Place(output_pixel * stride + at, at, place.sample)
            value = layer.epilogue.apply(vector, value, self.operands, where, stride)
            layer.epilogue.store(vector, self.output, where.index, value)
