"""Puts the channels of several packed tensors behind each other."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import prod

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from edgeml.compiler.isa import VectorISA
from edgeml.compiler.kernels.epilogue import padded
from edgeml.compiler.kernels.prim_func import Argument, Kernel, loop
from edgeml.compiler.kernels.vector import Buffer, Expr, Vector


@dataclass(frozen=True, kw_only=True)
class Concatenate:
    """Concatenation along the channels.

    Attributes:
        isa: the vector unit.
        batch: samples; None is known at run time only.
        pixels: (height, width), or () for tensors (batch, channels).
        channels: channels of each input, without padding.
        dtype: type of the elements.
    """

    isa: VectorISA
    batch: int | None
    pixels: tuple[int, ...]
    channels: tuple[int, ...]
    dtype: str = "float32"

    @cached_property
    def _vector(self) -> Vector:
        return Vector(self.isa)

    def kernel(self) -> Kernel:
        """The kernel; reads tensors (batch, *pixels, padded channels), writes one, its padding channels zero."""
        inputs = tuple(
            Argument(f"input{index}", (self.batch, *self.pixels, padded(channels, self._vector)), self.dtype)
            for index, channels in enumerate(self.channels)
        )
        shape = (self.batch, *self.pixels, padded(sum(self.channels), self._vector))
        return Kernel("concatenate", inputs, (Argument("output", shape, self.dtype),), self._body)

    def _body(self, batch: Expr, *buffers: Buffer) -> None:
        *sources, output = buffers
        vector, lanes = self._vector, self._vector.lanes
        pixels, total = prod(self.pixels), sum(self.channels)
        width = padded(total, vector)
        with loop((batch if self.batch is None else self.batch) * pixels, pixels * width) as pixel:
            first = 0
            for source, channels in zip(sources, self.channels, strict=True):
                begin, stride = pixel * width + first, padded(channels, vector)
                if channels >= lanes:
                    with T.serial(0, channels // lanes) as block:
                        value = vector.load(source, pixel * stride + block * lanes)
                        vector.store(output, begin + block * lanes, value)
                for channel in range(channels // lanes * lanes, channels):
                    T.buffer_store(output, source[pixel * stride + channel], [begin + channel])
                first += channels
            for channel in range(total, width):
                T.buffer_store(output, tirx.const(0, self.dtype), [pixel * width + channel])
