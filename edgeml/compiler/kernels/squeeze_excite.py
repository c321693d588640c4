"""Squeeze-and-excitation's two small dense layers in one kernel: channel means in, channel gates out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from tvm.script.ir_builder import tirx as T

from edgeml.compiler.isa import VectorISA
from edgeml.compiler.kernels.activations import Activation
from edgeml.compiler.kernels.epilogue import padded
from edgeml.compiler.kernels.prim_func import Argument, Kernel
from edgeml.compiler.kernels.vector import Buffer, Expr, Registers, Vector

_CHAINS = 4  # independent sums, so that a multiply-add need not wait for the one before it
_MOST_VECTORS = 6


@dataclass(frozen=True, kw_only=True)
class SqueezeExcite:
    """gate = second(weights2 first(weights1 means + bias1) + bias2), float32.

    Attributes:
        isa: the vector unit.
        batch: samples; None is known at run time only.
        channels: channels that are gated.
        reduced: channels between the two layers.
        first: activation after the first layer.
        second: activation after the second.
    """

    isa: VectorISA
    batch: int | None
    channels: int
    reduced: int
    first: Activation
    second: Activation

    @cached_property
    def _vector(self) -> Vector:
        return Vector(self.isa)

    @cached_property
    def _wide(self) -> int:
        return padded(self.channels, self._vector)

    @cached_property
    def _narrow(self) -> int:
        return padded(self.reduced, self._vector)

    def kernel(self) -> Kernel:
        """The kernel; reads means float32 (batch, padded channels) and what `pack` makes; writes gates like them."""
        inputs = (
            Argument("means", (self.batch, self._wide)),
            Argument("weights1", (self.channels, self._narrow)),
            Argument("bias1", (self._narrow,)),
            Argument("weights2", (self.reduced, self._wide)),
            Argument("bias2", (self._wide,)),
        )
        return Kernel("squeeze_excite", inputs, (Argument("gates", (self.batch, self._wide)),), self._body)

    def pack(
        self,
        weights1: npt.NDArray[np.float32],
        bias1: npt.NDArray[np.float32] | None,
        weights2: npt.NDArray[np.float32],
        bias2: npt.NDArray[np.float32] | None,
    ) -> tuple[npt.NDArray[np.float32], ...]:
        """Weights float32 (reduced, channels) and (channels, reduced), biases (reduced) and (channels), as read."""
        packed = [
            np.zeros((self.channels, self._narrow), np.float32),
            np.zeros(self._narrow, np.float32),
            np.zeros((self.reduced, self._wide), np.float32),
            np.zeros(self._wide, np.float32),
        ]
        packed[0][:, : self.reduced] = weights1.T
        packed[2][:, : self.channels] = weights2.T
        if bias1 is not None:
            packed[1][: self.reduced] = bias1
        if bias2 is not None:
            packed[3][: self.channels] = bias2
        return tuple(packed)

    def _body(
        self,
        batch: Expr,
        means: Buffer,
        weights1: Buffer,
        bias1: Buffer,
        weights2: Buffer,
        bias2: Buffer,
        gates: Buffer,
    ) -> None:
        between = T.alloc_buffer((self._narrow,), "float32")
        with T.serial(0, batch if self.batch is None else self.batch) as sample:
            at = sample * self._wide
            self._layer(means, at, weights1, bias1, between, 0, self.channels, self._narrow, self.first)
            self._layer(between, 0, weights2, bias2, gates, at, self.reduced, self._wide, self.second)

    def _layer(
        self,
        source: Buffer,
        source_at: Expr,
        weights: Buffer,
        bias: Buffer,
        output: Buffer,
        output_at: Expr,
        depth: int,
        width: int,
        activation: Activation,
    ) -> None:
        vector, lanes = self._vector, self._vector.lanes
        total = width // lanes
        vectors = max(count for count in range(1, _MOST_VECTORS + 1) if total % count == 0)
        chains = min(_CHAINS if vectors < _CHAINS else 2, depth)
        with T.serial(0, total // vectors) as block:
            first = block * vectors * lanes
            sums = vector.registers(chains * vectors)
            for index in range(chains * vectors):
                start = vector.load(bias, first + index * lanes) if index < vectors else vector.splat(0.0)
                sums[index] = start

            def add(row: Expr, chain: int, first: Expr = first, sums: Registers = sums) -> None:
                for index in range(vectors):
                    at = chain * vectors + index
                    weight = vector.load(weights, row * width + first + index * lanes)
                    sums[at] = vector.multiply_add(vector.splat(source[source_at + row]), weight, sums[at])

            with T.serial(0, depth // chains) as group:
                for chain in range(chains):
                    add(group * chains + chain, chain)
            for rest in range(depth // chains * chains, depth):
                add(rest, 0)
            for index in range(vectors):
                value = sums[index]
                for chain in range(1, chains):
                    value = value + sums[chain * vectors + index]
                vector.store(output, output_at + first + index * lanes, activation.apply(vector, vector.keep(value)))
