"""Maximum and average pooling over a window, and the mean over all pixels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from edgeml.compiler.isa import VectorISA
from edgeml.compiler.kernels.epilogue import Quantization, load_real, padded
from edgeml.compiler.kernels.prim_func import Argument, Kernel, loop
from edgeml.compiler.kernels.vector import Buffer, Expr, Vector
from edgeml.compiler.kernels.window import Axis, rows_inside

_CHAINS = 4


@dataclass(frozen=True, kw_only=True)
class Pooling:
    """Maximum or average over a window.

    Attributes:
        isa: the vector unit.
        batch: samples; None is known at run time only.
        rows: the window along the height.
        columns: the window along the width.
        channels: channels, without padding.
        operator: what is taken over the window.
        count_padding: whether an average counts the zeros around the input.
        dtype: float32, or an 8-bit type (maximum only: codes keep the order of what they stand for).
    """

    isa: VectorISA
    batch: int | None
    rows: Axis
    columns: Axis
    channels: int
    operator: Literal["max", "average"]
    count_padding: bool = False
    dtype: str = "float32"

    @cached_property
    def _vector(self) -> Vector:
        return Vector(self.isa)

    @cached_property
    def _stride(self) -> int:
        return padded(self.channels, self._vector)

    def kernel(self) -> Kernel:
        """The kernel; reads (batch, height, width, padded channels), writes the same at the output's size."""
        inputs = (Argument("input", (self.batch, self.rows.size_in, self.columns.size_in, self._stride), self.dtype),)
        shape = (self.batch, self.rows.size_out, self.columns.size_out, self._stride)
        return Kernel(f"{self.operator}_pool", inputs, (Argument("output", shape, self.dtype),), self._body)

    def _body(self, batch: Expr, source: Buffer, output: Buffer) -> None:
        lanes, vector = self._vector.lanes, self._vector
        rows, columns = self.rows, self.columns
        samples = batch if self.batch is None else self.batch
        per_sample = rows.size_out * columns.size_out
        work = per_sample * rows.taps * columns.taps * self._stride
        with loop(samples * rows.size_out, work) as index, T.serial(0, columns.size_out) as column:
            sample, row = index // rows.size_out, index % rows.size_out
            low, high = rows_inside(rows, row)
            left, right = rows_inside(columns, column)
            with T.serial(0, self._stride // lanes) as block:
                total = vector.registers(1, vector.of(self.dtype))
                total[0] = self._start()
                with T.serial(0, high - low) as y, T.serial(0, right - left) as x:
                    source_row = row * rows.stride - rows.pad_begin + (low + y) * rows.dilation
                    source_column = column * columns.stride - columns.pad_begin + (left + x) * columns.dilation
                    pixel = (sample * rows.size_in + source_row) * columns.size_in + source_column
                    value = vector.load(source, pixel * self._stride + block * lanes)
                    total[0] = tirx.Max(total[0], value) if self.operator == "max" else total[0] + value
                value = total[0]
                if self.operator == "average":
                    count = rows.taps * columns.taps if self.count_padding else (high - low) * (right - left)
                    divisor = tirx.Cast("float32", count) if not isinstance(count, int) else float(count)
                    value = value / vector.splat(divisor)
                at = (index * columns.size_out + column) * self._stride + block * lanes
                vector.store(output, at, value)

    def _start(self) -> Expr:
        if self.operator == "average":
            return self._vector.splat(0.0)
        return self._vector.splat(tirx.min_value(self.dtype))


@dataclass(frozen=True, kw_only=True)
class GlobalAverage:
    """The mean of each channel over all pixels of a sample.

    Attributes:
        isa: the vector unit.
        batch: samples; None is known at run time only.
        pixels: height x width.
        channels: channels, without padding.
        quantization: the input's code; None for float32.
    """

    isa: VectorISA
    batch: int | None
    pixels: int
    channels: int
    quantization: Quantization | None = None

    @cached_property
    def _vector(self) -> Vector:
        return Vector(self.isa)

    def kernel(self) -> Kernel:
        """The kernel; reads (batch, pixels, padded channels), writes float32 (batch, padded channels)."""
        width = padded(self.channels, self._vector)
        dtype = self.quantization.dtype if self.quantization else "float32"
        inputs = (Argument("input", (self.batch, self.pixels, width), dtype),)
        return Kernel("global_average", inputs, (Argument("output", (self.batch, width)),), self._body)

    def _body(self, batch: Expr, source: Buffer, output: Buffer) -> None:
        vector, lanes = self._vector, self._vector.lanes
        width = padded(self.channels, vector)
        blocks = width // lanes
        chains = min(_CHAINS, self.pixels)
        with loop((batch if self.batch is None else self.batch) * blocks, self.pixels * width) as index:
            sample, block = index // blocks, index % blocks
            sums = vector.registers(chains)
            for chain in range(chains):
                sums[chain] = vector.splat(0.0)

            def add(pixel: Expr, chain: int) -> None:
                at = (sample * self.pixels + pixel) * width + block * lanes
                value = load_real(vector, source, at, self.quantization)
                sums[chain] = sums[chain] + value

            with T.serial(0, self.pixels // chains) as group:
                for chain in range(chains):
                    add(group * chains + chain, chain)
            for rest in range(self.pixels // chains * chains, self.pixels):
                add(rest, 0)
            total = sums[0]
            for chain in range(1, chains):
                total = total + sums[chain]
            vector.store(output, sample * width + block * lanes, total * vector.splat(1.0 / self.pixels))
