"""1x1 convolution and dense layer on 8-bit codes: exact sums in int32, then float32 as QDQ has it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
from tvm.script.ir_builder import tirx as T

from edgeml.compiler.isa import VectorISA
from edgeml.compiler.kernels.dot_product import WORD, DotProduct
from edgeml.compiler.kernels.epilogue import Epilogue, Place, Quantization, overlapping, padded
from edgeml.compiler.kernels.prim_func import Argument, Kernel, loop
from edgeml.compiler.kernels.tile import Tile
from edgeml.compiler.kernels.vector import Buffer, Expr, Vector


@dataclass(frozen=True, kw_only=True)
class QuantizedPointwise:
    """One 1x1 convolution or dense layer on codes.

    Attributes:
        isa: the vector unit.
        batch: samples; None is known at run time only.
        pixels: height x width of a sample; 1 for a dense layer.
        channels_in: input channels, without padding.
        channels_out: output channels, without padding.
        source: the input's code.
        epilogue: what follows the sums.
    """

    isa: VectorISA
    batch: int | None
    pixels: int
    channels_in: int
    channels_out: int
    source: Quantization
    epilogue: Epilogue = field(default_factory=Epilogue)

    @cached_property
    def _vector(self) -> Vector:
        return Vector(self.isa)

    @cached_property
    def _dot(self) -> DotProduct:
        return DotProduct(self._vector, self.source.dtype)

    @cached_property
    def _stride_in(self) -> int:
        return padded(self.channels_in, self._vector)

    @cached_property
    def _stride_out(self) -> int:
        return padded(self.channels_out, self._vector)

    @property
    def _words(self) -> int:
        return -(-self.channels_in // WORD)

    @cached_property
    def _tile(self) -> Tile:
        rows = self.pixels if self.batch is None else self.pixels * self.batch
        vectors = self._stride_out // self._vector.lanes
        return self._dot.tile(rows, vectors, words=self._words, slow_epilogue=self.epilogue.is_slow)

    @property
    def _word_of_weights(self) -> int:
        """Elements that belong to one word of codes in one block of output channels."""
        return self._tile.vectors * self._vector.lanes * WORD

    def kernel(self) -> Kernel:
        """The kernel; reads input (batch, pixels, padded channels), what `pack` makes, operands.

        Output (batch, pixels, padded channels_out). The contents of padding channels do not matter.
        """
        shape = (self.batch, self.pixels, self._stride_out)
        inputs = (
            Argument("input", (self.batch, self.pixels, self._stride_in), self.source.dtype),
            Argument("weights", (self._tile.blocks, self._words, self._word_of_weights), self._dot.weights_dtype),
            Argument("starts", (self._stride_out,), "int32"),
            Argument("scales", (self._stride_out,)),
            Argument("bias", (self._stride_out,)),
            *self.epilogue.arguments(shape),
        )
        name = "quantized_pointwise" if self.pixels > 1 else "quantized_dense"
        return Kernel(name, inputs, (Argument("output", shape, self.epilogue.dtype),), self._body)

    def pack(
        self, weights: npt.NDArray[np.int8], scales: npt.NDArray[np.float32], bias: npt.NDArray[np.float32] | None
    ) -> tuple[npt.NDArray[np.generic], ...]:
        """What the kernel reads after its input.

        Args:
            weights: int8 (channels_out, channels_in), zero point 0.
            scales: float32 (channels_out), of the weights.
            bias: float32 (channels_out).

        Returns:
            Weights by blocks, what the sums start with (so that the input's zero point cancels), the scale of the
            sums, the bias.
        """
        lanes, tile = self._vector.lanes, self._tile
        full = np.zeros((self._words * WORD, self._stride_out), np.int8)
        full[: self.channels_in, : self.channels_out] = weights.reshape(self.channels_out, self.channels_in).T
        blocks = [tile.start(block) * lanes for block in range(tile.blocks)]
        packed = self._dot.pack(np.stack([full[:, start : start + tile.vectors * lanes] for start in blocks]))
        starts = full.sum(0, dtype=np.int64) * -self._dot.zero_point(self.source.zero_point)
        channels = np.zeros((2, self._stride_out), np.float32)
        channels[0, : self.channels_out] = scales.astype(np.float64) * self.source.scale
        if bias is not None:
            channels[1, : self.channels_out] = bias
        return packed, starts.astype(np.int32), channels[0].copy(), channels[1].copy()

    def _body(self, batch: Expr, source: Buffer, weights: Buffer, *rest: Buffer) -> None:
        starts, scales, bias, *operands, output = rest
        call = _Call(self, source, weights, starts, scales, bias, operands, output)
        tile, samples = self._tile, batch if self.batch is None else self.batch
        rows = samples * self.pixels
        work = self.pixels * self.channels_in * self.channels_out // WORD
        if isinstance(rows, int) or self.pixels >= tile.rows:
            tiles = -(-rows // tile.rows) if isinstance(rows, int) else (rows + tile.rows - 1) // tile.rows
            with loop(tile.blocks * tiles, work) as index:
                call.tile(index // tiles, overlapping(index % tiles, tile.rows, rows), tile.rows)
            return
        # Fewer rows than a tile may come: whole tiles, then row by row.
        with loop(tile.blocks, work) as block:
            with T.serial(0, rows // tile.rows) as index:
                call.tile(block, index * tile.rows, tile.rows)
            with T.serial(0, rows % tile.rows) as index:
                call.tile(block, rows // tile.rows * tile.rows + index, 1)


@dataclass(frozen=True)
class _Call:
    """The kernel's tensors, and the code of one tile."""

    layer: QuantizedPointwise
    source: Buffer
    weights: Buffer
    starts: Buffer
    scales: Buffer
    bias: Buffer
    operands: list[Buffer]
    output: Buffer

    def tile(self, block: Expr, row: Expr, count: int) -> None:
        """All sums of `count` pixels from `row` on, for one block of output channels."""
        layer, vector, lanes = self.layer, self.layer._vector, self.layer._vector.lanes
        vectors, stride = layer._tile.vectors, layer._stride_out
        channel = overlapping(block, vectors, stride // lanes) * lanes
        sums = vector.registers(count * vectors, vector.of("int32"))
        for index in range(count * vectors):
            sums[index] = vector.load(self.starts, channel + index % vectors * lanes)

        def add(word: Expr, words: int) -> None:
            pixels = {pixel: (row + pixel) * layer._stride_in + word * WORD for pixel in range(count)}
            at = (block * layer._words + word) * layer._word_of_weights
            layer._dot.multiply(sums, self.source, pixels, self.weights, at, words, vectors)

        step = layer._dot.words_at_once
        if layer._words >= step:
            with T.serial(0, layer._words // step) as group:
                add(group * step, step)
        for word in range(layer._words // step * step, layer._words):
            add(word, 1)
        for index in range(count * vectors):
            at = channel + index % vectors * lanes
            value = sums[index].astype(vector.dtype) * vector.load(self.scales, at) + vector.load(self.bias, at)
            place = Place((row + index // vectors) * stride + at, at)
            value = layer.epilogue.apply(vector, value, self.operands, place, stride)
            layer.epilogue.store(vector, self.output, place.index, value)
