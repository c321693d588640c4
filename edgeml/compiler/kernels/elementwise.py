"""Pointwise arithmetic on packed tensors, where no convolution before it can take it along."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import prod

from edgeml.compiler.isa import VectorISA
from edgeml.compiler.kernels.epilogue import Epilogue, Place, Quantization, load_real, padded
from edgeml.compiler.kernels.prim_func import Argument, Kernel, loop
from edgeml.compiler.kernels.vector import Buffer, Expr, Vector

_WORK = 8  # of one element, in multiply-adds


@dataclass(frozen=True, kw_only=True)
class Elementwise:
    """The steps of an epilogue on a tensor that lies in memory.

    Attributes:
        isa: the vector unit.
        batch: samples; None is known at run time only.
        pixels: (height, width), or () for a tensor (batch, channels).
        channels: channels, without padding.
        epilogue: the steps.
        quantization: the input's code; None for float32.
    """

    isa: VectorISA
    batch: int | None
    pixels: tuple[int, ...]
    channels: int
    epilogue: Epilogue
    quantization: Quantization | None = None

    @cached_property
    def _vector(self) -> Vector:
        return Vector(self.isa)

    @cached_property
    def _stride(self) -> int:
        return padded(self.channels, self._vector)

    def kernel(self) -> Kernel:
        """The kernel; reads the tensor (batch, *pixels, padded channels) and the operands, writes one of that shape."""
        shape = (self.batch, *self.pixels, self._stride)
        dtype = self.quantization.dtype if self.quantization else "float32"
        inputs = (Argument("input", shape, dtype), *self.epilogue.arguments(shape))
        return Kernel("elementwise", inputs, (Argument("output", shape, self.epilogue.dtype),), self._body)

    def _body(self, batch: Expr, source: Buffer, *rest: Buffer) -> None:
        *operands, output = rest
        vector, lanes = self._vector, self._vector.lanes
        samples = batch if self.batch is None else self.batch
        per_sample = prod(self.pixels) * self._stride // lanes
        with loop(samples * per_sample, per_sample * lanes * _WORK) as index:
            at = index * lanes
            place = Place(at, index % (self._stride // lanes) * lanes, index // per_sample)
            value = vector.keep(load_real(vector, source, at, self.quantization))
            value = self.epilogue.apply(vector, value, operands, place, self._stride)
            self.epilogue.store(vector, output, at, value)
