"""Random binary convolutions with contents, and what the operator's numpy reference counts in them."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd
from typing import Any

import numpy as np

from edgeml.compiler.isa import VectorISA
from edgeml.compiler.kernels.binary_convolution import BinaryConvolution
from edgeml.compiler.kernels.prim_func import Kernel
from edgeml.compiler.kernels.sign_bits import SignBits
from edgeml.compiler.kernels.window import Axis
from edgeml.ops import binary_conv
from edgeml.ops.bits import packed_size, unpack_signs
from tests.compiler.kernels.machine import Array, channels_last, packed


@dataclass(frozen=True)
class Geometry:
    """A convolution as ONNX describes it.

    Attributes:
        channels: of the input.
        filters: output channels.
        group: groups of channels.
        size: height and width of the input.
        kernel_shape: height and width of the filters.
        strides: of rows and columns.
        pads: top, left, bottom, right.
        dilations: of rows and columns.
    """

    channels: int
    filters: int
    group: int = 1
    size: tuple[int, int] = (5, 6)
    kernel_shape: tuple[int, int] = (3, 3)
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (1, 1, 1, 1)
    dilations: tuple[int, int] = (1, 1)

    @property
    def depth(self) -> int:
        """Bits of a filter."""
        return self.channels // self.group * self.kernel_shape[0] * self.kernel_shape[1]

    @property
    def axes(self) -> tuple[Axis, Axis]:
        """The window along the height and along the width."""
        rows, columns = (
            Axis(
                size_in=self.size[axis],
                taps=self.kernel_shape[axis],
                stride=self.strides[axis],
                pad_begin=self.pads[axis],
                pad_end=self.pads[axis + 2],
                dilation=self.dilations[axis],
            )
            for axis in (0, 1)
        )
        return rows, columns

    @property
    def attributes(self) -> dict[str, Any]:
        """Of the ONNX node."""
        return {
            "kernel_shape": self.kernel_shape,
            "channels": self.channels,
            "group": self.group,
            "strides": self.strides,
            "pads": self.pads,
            "dilations": self.dilations,
        }

    def sign_bits(self, isa: VectorISA, batch: int | None = None) -> SignBits:
        """The kernel that reads the input."""
        return SignBits(isa=isa, batch=batch, pixels=self.size, channels=self.channels)

    def convolution(self, isa: VectorISA, batch: int | None = None, **options: Any) -> BinaryConvolution:
        """The kernel that counts."""
        rows, columns = self.axes
        return BinaryConvolution(
            isa=isa,
            batch=batch,
            rows=rows,
            columns=columns,
            channels_in=self.channels,
            channels_out=self.filters,
            groups=self.group,
            **options,
        )

    def kernels(self, isa: VectorISA) -> tuple[Kernel, Kernel]:
        """Both."""
        return self.sign_bits(isa).kernel(), self.convolution(isa).kernel()


def random_geometry(generator: np.random.Generator) -> Geometry:
    """Anything a convolution may be: odd channel counts, groups, uneven pads, windows larger than the image."""

    def pair(low: int, high: int) -> tuple[int, int]:
        return int(generator.integers(low, high)), int(generator.integers(low, high))

    most = int(generator.choice([9, 40, 140]))
    channels, filters = pair(1, most)
    group = 1
    if generator.random() < 0.4:
        shared = int(generator.choice([2, 3, 4, 8, 16, 33]))
        channels, filters = shared * max(1, channels // shared), shared * max(1, filters // shared)
        if generator.random() < 0.3:
            filters = channels  # one channel a group where shared is all of them
        group = gcd(channels, filters)
    kernel, dilations = pair(1, 5), pair(1, 4)
    reach = [(kernel[axis] - 1) * dilations[axis] + 1 for axis in (0, 1)]
    top, left, bottom, right = (int(generator.integers(0, reach[axis] + 1)) for axis in (0, 1, 0, 1))
    size = [max(int(n), reach[axis] - (top, left)[axis] - (bottom, right)[axis]) for axis, n in enumerate(pair(1, 10))]
    return Geometry(
        channels=channels,
        filters=filters,
        group=group,
        size=(size[0], size[1]),
        kernel_shape=kernel,
        strides=pair(1, 4),
        pads=(top, left, bottom, right),
        dilations=dilations,
    )


@dataclass(frozen=True)
class Case:
    """Contents of one convolution.

    Attributes:
        geometry: the convolution.
        x: float32 (batch, channels, height, width).
        weights: packed filters as in the file.
        threshold: float32 (channels).
        scale: float32 (filters), powers of two.
        bias: float32 (filters), small whole numbers.
    """

    geometry: Geometry
    x: Array
    weights: Array
    threshold: Array
    scale: Array
    bias: Array

    @property
    def expected(self) -> Array:
        """The reference's result, channels last; float32 has nothing to round in it."""
        inputs = (self.x, self.weights, self.threshold, self.scale, self.bias)
        return channels_last(binary_conv.reference(*inputs, **self.geometry.attributes))

    def image(self, isa: VectorISA) -> Array:
        """The input in the kernels' layout."""
        return packed(channels_last(self.x), isa)

    def constants(self, isa: VectorISA) -> tuple[Array, tuple[Array, ...]]:
        """What the first kernel reads after the image, and the second one after the bits."""
        geometry = self.geometry
        shape = (geometry.filters, geometry.channels // geometry.group, *geometry.kernel_shape)
        negative = (unpack_signs(self.weights, geometry.depth) < 0).astype(np.uint8).reshape(shape)
        thresholds = geometry.sign_bits(isa).pack(self.threshold)
        return thresholds, geometry.convolution(isa).pack(negative, self.scale, self.bias)


def random_case(geometry: Geometry, generator: np.random.Generator, batch: int = 1) -> Case:
    """Random contents; some inputs lie on their threshold, are infinite or no number."""
    threshold = (generator.integers(-2, 3, geometry.channels) / 2).astype(np.float32)
    x = (generator.integers(-4, 5, (batch, geometry.channels, *geometry.size)) / 2).astype(np.float32)
    x[generator.random(x.shape) < 0.05] = generator.choice([np.nan, np.inf, -np.inf, -0.0])
    weights = generator.integers(0, 256, (geometry.filters, packed_size(geometry.depth))).astype(np.uint8)
    if spare := -geometry.depth % 8:
        weights[:, -1] &= 0xFF >> spare
    scale = (2.0 ** generator.integers(-6, 3, geometry.filters) * generator.choice([-1, 1])).astype(np.float32)
    bias = generator.integers(-99, 99, geometry.filters).astype(np.float32)
    return Case(geometry, x, weights, threshold, scale, bias)
