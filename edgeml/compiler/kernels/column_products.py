"""Depthwise sums by dot products: four rows of a window's column at once, for each channel in its own lane."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt
from tvm import tirx
from tvm.script.ir_builder import tirx as T

from edgeml.compiler.kernels.dot_product import WORD, DotProduct
from edgeml.compiler.kernels.vector import Buffer, Expr, Registers, Vector
from edgeml.compiler.kernels.window import Axis, Span, rows_inside, touched

_MOST_WEIGHTS = 16  # registers that hold weights


@dataclass(frozen=True)
class ColumnProducts:
    """Emits the sums of one tile of a depthwise convolution on codes.

    Rows outside the image are read from its edge and multiplied by weights set to 0, so that there is no loop over
    rows.

    Attributes:
        vector: the vector unit.
        dtype: type of the codes.
        rows: the window along the height.
        columns: the window along the width.
        stride: channels, padded.
    """

    vector: Vector
    dtype: Literal["uint8", "int8"]
    rows: Axis
    columns: Axis
    stride: int

    @cached_property
    def _dot(self) -> DotProduct:
        return DotProduct(self.vector, self.dtype)

    @property
    def _groups(self) -> int:
        """Groups of four rows of the window."""
        return -(-self.rows.taps // WORD)

    @property
    def fits(self) -> bool:
        """Whether this is the way: the processor has one instruction for it, and registers enough."""
        return self.vector.isa.dot_product in {"vnni", "sdot"} and self.columns.taps * self._groups <= _MOST_WEIGHTS

    @property
    def registers(self) -> int:
        """Registers taken besides the sums."""
        return self.columns.taps * self._groups + WORD + 1

    @property
    def weights_shape(self) -> tuple[int, ...]:
        """Shape of one channel vector's packed weights."""
        return self._groups, self.columns.taps, self.vector.lanes * WORD

    @property
    def weights_dtype(self) -> str:
        """Type of packed weights."""
        return self._dot.weights_dtype

    def pack(self, blocks: npt.NDArray[np.int8]) -> npt.NDArray[np.generic]:
        """Weights int8 (blocks, taps, lanes) as `add` reads them: (blocks, *weights_shape)."""
        lanes = self.vector.lanes
        full = np.zeros((len(blocks), self._groups * WORD, self.columns.taps, lanes), np.int8)
        full[:, : self.rows.taps] = blocks.reshape(len(blocks), self.rows.taps, self.columns.taps, lanes)
        grouped = full.reshape(len(blocks), self._groups, WORD, self.columns.taps, lanes).transpose(0, 1, 3, 2, 4)
        return self._dot.pack(grouped).reshape(len(blocks), *self.weights_shape)

    def zero_point(self, zero_point: int) -> int:
        """What a code's zero point is in the numbers that are multiplied."""
        return self._dot.zero_point(zero_point)

    def add(
        self,
        sums: Registers,
        source: Buffer,
        weights: Buffer,
        sample: Expr,
        block: Expr,
        row: Expr,
        span: Span,
        first: Expr,
    ) -> None:
        """Add all products of a tile: `span` says which outputs, the first of them is `first`, in row `row`."""
        dot, lanes, columns = self._dot, self.vector.lanes, self.columns
        taps = self._weights_of_row(weights, block, row)
        tops = [
            ((sample * self.rows.size_in + self._source_row(row, tap)) * columns.size_in + first * columns.stride)
            * self.stride
            + block * lanes
            for tap in range(self.rows.taps)
        ]
        for position, uses in touched(columns, span):
            for group in range(self._groups):
                rows = tops[group * WORD : (group + 1) * WORD]
                codes = dot.interleave(source, [top + position * self.stride for top in rows])
                for pixel, column in uses:
                    sums[pixel] = dot.add(sums[pixel], codes, taps[group * columns.taps + column])

    def _source_row(self, row: Expr, tap: int) -> Expr:
        """The input row under a tap, or the nearest there is."""
        begin = row * self.rows.stride - self.rows.pad_begin + tap * self.rows.dilation
        if self.rows.source(0, tap) < 0:
            begin = tirx.Max(begin, 0)
        if self.rows.source(self.rows.size_out - 1, tap) >= self.rows.size_in:
            begin = tirx.Min(begin, self.rows.size_in - 1)
        return begin

    def _weights_of_row(self, weights: Buffer, block: Expr, row: Expr) -> Registers:
        """All weights of a channel vector, 0 where they would meet a row outside the image."""
        lanes, size = self.vector.lanes, self.vector.lanes * WORD
        low, high = rows_inside(self.rows, row)
        taps = self.vector.registers(self._groups * self.columns.taps, f"int8x{size}")
        for group in range(self._groups):
            mask = tirx.const(0, "uint32")
            for tap in range(group * WORD, min((group + 1) * WORD, self.rows.taps)):
                inside = tirx.all(tirx.const(tap, "int32") >= low, tirx.const(tap, "int32") < high)
                byte = tirx.const(0xFF << 8 * (tap % WORD), "uint32")
                mask = mask + tirx.Select(inside, byte, tirx.const(0, "uint32"))
            spread = self.vector.keep(tirx.Broadcast(mask, lanes), self.vector.of("uint32"))
            for column in range(self.columns.taps):
                at = ((block * self._groups + group) * self.columns.taps + column) * size
                words = T.reinterpret(self.vector.of("uint32"), weights[tirx.Ramp(at, 1, size)])
                taps[group * self.columns.taps + column] = T.reinterpret(f"int8x{size}", words & spread)
        return taps
