"""Between a model's own layout (batch, channels, pixels) and the kernels' (batch, pixels, padded channels)."""

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
class Layout:
    """Two layouts of one tensor.

    Attributes:
        isa: the vector unit.
        batch: samples; None is known at run time only.
        channels: channels, without padding.
        pixels: (height, width), or () for a tensor (batch, channels).
        dtype: type of the elements.
    """

    isa: VectorISA
    batch: int | None
    channels: int
    pixels: tuple[int, ...]
    dtype: str = "float32"

    @cached_property
    def _stride(self) -> int:
        return padded(self.channels, Vector(self.isa))

    @property
    def _model_shape(self) -> tuple[int | None, ...]:
        return (self.batch, self.channels, *self.pixels)

    @property
    def _packed_shape(self) -> tuple[int | None, ...]:
        return (self.batch, *self.pixels, self._stride)

    def pack(self) -> Kernel:
        """The kernel that reads the model's layout and writes the packed one, padding channels zero."""
        inputs = (Argument("input", self._model_shape, self.dtype, model_layout=True),)
        return Kernel("pack", inputs, (Argument("output", self._packed_shape, self.dtype),), self._pack)

    def unpack(self) -> Kernel:
        """The kernel that reads the packed layout and writes the model's."""
        inputs = (Argument("input", self._packed_shape, self.dtype),)
        return Kernel(
            "unpack", inputs, (Argument("output", self._model_shape, self.dtype, model_layout=True),), self._unpack
        )

    def _pack(self, batch: Expr, source: Buffer, output: Buffer) -> None:
        pixels = prod(self.pixels)
        samples = batch if self.batch is None else self.batch
        with loop(samples * pixels, pixels * self._stride) as index:
            sample, pixel = index // pixels, index % pixels
            with T.serial(0, self.channels) as channel:
                value = source[(sample * self.channels + channel) * pixels + pixel]
                T.buffer_store(output, value, [index * self._stride + channel])
            with T.serial(self.channels, self._stride) as channel:
                T.buffer_store(output, tirx.const(0, self.dtype), [index * self._stride + channel])

    def _unpack(self, batch: Expr, source: Buffer, output: Buffer) -> None:
        pixels = prod(self.pixels)
        samples = batch if self.batch is None else self.batch
        with loop(samples * self.channels, pixels * self.channels) as index, T.serial(0, pixels) as pixel:
            sample, channel = index // self.channels, index % self.channels
            value = source[(sample * pixels + pixel) * self._stride + channel]
            T.buffer_store(output, value, [index * pixels + pixel])
