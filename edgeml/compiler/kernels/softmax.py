"""Softmax over the last axis."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from edgeml.compiler.isa import VectorISA
from edgeml.compiler.kernels.epilogue import padded
from edgeml.compiler.kernels.prim_func import Argument, Kernel, loop
from edgeml.compiler.kernels.vector import Buffer, Expr, Registers, Vector

_WORK = 16  # of one element, in multiply-adds


@dataclass(frozen=True, kw_only=True)
class Softmax:
    """e^x / sum e^x over the channels of each pixel, the largest subtracted first.

    Attributes:
        isa: the vector unit.
        batch: samples; None is known at run time only.
        pixels: rows of each sample.
        channels: channels, without padding.
    """

    isa: VectorISA
    batch: int | None
    pixels: tuple[int, ...]
    channels: int

    @cached_property
    def _vector(self) -> Vector:
        return Vector(self.isa)

    def kernel(self) -> Kernel:
        """The kernel; reads and writes float32 (batch, *pixels, padded channels)."""
        shape = (self.batch, *self.pixels, padded(self.channels, self._vector))
        return Kernel("softmax", (Argument("input", shape),), (Argument("output", shape),), self._body)

    def _body(self, batch: Expr, source: Buffer, output: Buffer) -> None:
        vector, lanes = self._vector, self._vector.lanes
        width = padded(self.channels, vector)
        rows = 1
        for axis in self.pixels:
            rows *= axis
        with loop((batch if self.batch is None else self.batch) * rows, rows * width * _WORK) as row:
            largest = vector.registers(1)
            largest[0] = self._masked(vector.load(source, row * width), 0)
            with T.serial(1, width // lanes) as block:
                value = self._masked(vector.load(source, row * width + block * lanes), block)
                largest[0] = vector.maximum(largest[0], value)
            top = self._across(largest, tirx.Max)
            total = vector.registers(1)
            total[0] = vector.splat(0.0)
            with T.serial(0, width // lanes) as block:
                at = row * width + block * lanes
                value = vector.keep(vector.exp(vector.maximum(vector.load(source, at) - top, vector.splat(-87.0))))
                vector.store(output, at, value)
                total[0] = total[0] + self._masked(value, block, 0.0)
            scale = vector.splat(1.0) / self._across(total, lambda left, right: left + right)
            factor = vector.keep(scale)
            with T.serial(0, width // lanes) as block:
                at = row * width + block * lanes
                vector.store(output, at, vector.load(output, at) * factor)

    def _masked(self, value: Expr, block: Expr, outside: float = -3.0e38) -> Expr:
        """`value` where the lane is a channel, `outside` where it is padding."""
        vector, lanes = self._vector, self._vector.lanes
        if self.channels % lanes == 0:
            return value
        lane = tirx.Ramp(block * lanes, 1, lanes)
        return vector.select(lane < vector.splat(self.channels, "int32"), value, vector.splat(outside))

    def _across(self, register: Registers, combine: object) -> Expr:
        """One value over all lanes, in every lane."""
        vector = self._vector
        value = register[0]
        step = vector.lanes // 2
        while step:
            indices = [tirx.const((lane + step) % vector.lanes, "int32") for lane in range(vector.lanes)]
            value = vector.keep(combine(value, tirx.Shuffle([value], indices)))  # type: ignore[operator]
            step //= 2
        return value
