"""Quantized layers with a window and random contents, for tests of both kinds of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgeml.compiler.isa import VectorISA
from edgeml.compiler.kernels.epilogue import Epilogue, Operand, Quantization
from edgeml.compiler.kernels.quantized_convolution import QuantizedConvolution
from edgeml.compiler.kernels.quantized_depthwise import QuantizedDepthwise
from edgeml.compiler.kernels.window import Axis
from tests.compiler.kernels import reference
from tests.compiler.kernels.machine import Array, packed, run

UINT8 = Quantization(2.0**-5, 77, "uint8")
INT8 = Quantization(2.0**-5, -19, "int8")
OUT = Quantization(2.0**-3, 131, "uint8")

SQUARE = (Axis(size_in=9, taps=3, pad_begin=1, pad_end=1), Axis(size_in=7, taps=3, pad_begin=1, pad_end=1))
# One pad, stride, dilation and size in each direction.
UNEVEN = (
    Axis(size_in=11, taps=3, stride=2, pad_begin=1, pad_end=0),
    Axis(size_in=13, taps=4, stride=1, pad_begin=2, pad_end=3, dilation=2),
)
LARGER_THAN_THE_IMAGE = (
    Axis(size_in=2, taps=5, pad_begin=2, pad_end=2),
    Axis(size_in=3, taps=5, stride=2, pad_begin=2, pad_end=3),
)
# Whole windows lie outside.
FAR_OUTSIDE = (Axis(size_in=3, taps=3, pad_begin=4, pad_end=5), Axis(size_in=3, taps=3, pad_begin=0, pad_end=6))
DILATED = (
    Axis(size_in=12, taps=3, pad_begin=5, pad_end=3, dilation=3),
    Axis(size_in=12, taps=2, stride=3, pad_begin=1, pad_end=2, dilation=5),
)
BARE = (Axis(size_in=8, taps=1, stride=2), Axis(size_in=30, taps=1, stride=2))
WINDOWS = {
    "square": SQUARE,
    "uneven": UNEVEN,
    "larger than the image": LARGER_THAN_THE_IMAGE,
    "far outside": FAR_OUTSIDE,
    "dilated": DILATED,
    "1x1": BARE,
}


Layer = QuantizedConvolution | QuantizedDepthwise


def convolution(
    isa: VectorISA,
    window: tuple[Axis, Axis],
    channels_in: int,
    channels_out: int,
    *,
    batch: int | None = 1,
    groups: int = 1,
    source: Quantization = UINT8,
    epilogue: Epilogue = Epilogue((), OUT),  # noqa: B008
) -> QuantizedConvolution:
    """A layer."""
    rows, columns = window
    return QuantizedConvolution(
        isa=isa,
        batch=batch,
        rows=rows,
        columns=columns,
        channels_in=channels_in,
        channels_out=channels_out,
        groups=groups,
        source=source,
        epilogue=epilogue,
    )


def depthwise(
    isa: VectorISA,
    window: tuple[Axis, Axis],
    channels: int,
    *,
    batch: int | None = 1,
    source: Quantization = UINT8,
    epilogue: Epilogue = Epilogue((), OUT),  # noqa: B008
) -> QuantizedDepthwise:
    """A layer."""
    rows, columns = window
    return QuantizedDepthwise(
        isa=isa, batch=batch, rows=rows, columns=columns, channels=channels, source=source, epilogue=epilogue
    )


@dataclass(frozen=True)
class Problem:
    """A layer with contents, and what numpy says.

    Attributes:
        layer: the layer.
        inputs: the kernel's.
        shape: of the kernel's output.
        expected: the output without padding channels.
    """

    layer: Layer
    inputs: tuple[Array, ...]
    shape: tuple[int, ...]
    expected: Array


def problem(layer: Layer, batch: int, seed: int = 0) -> Problem:
    """Random contents for a layer.

    Scales are powers of two, so that float32 arithmetic has nothing to round.
    """
    if isinstance(layer, QuantizedDepthwise):
        depth = width = groups = layer.channels
    else:
        depth, width, groups = layer.channels_in, layer.channels_out, layer.groups
    generator, source = np.random.default_rng(seed), layer.source
    bounds = np.iinfo(source.dtype)
    shape = (batch, layer.rows.size_in, layer.columns.size_in, depth)
    image = generator.integers(bounds.min, bounds.max + 1, shape).astype(source.dtype)
    taps = (width, depth // groups, layer.rows.taps, layer.columns.taps)
    weights = generator.integers(-128, 128, taps).astype(np.int8)
    scales = (2.0 ** generator.integers(-10, -7, width)).astype(np.float32)
    bias = (generator.integers(-(2**10), 2**10, width) * 2.0**-8).astype(np.float32)
    centred = image.astype(np.int64) - source.zero_point
    sums = reference.convolution(centred, weights, layer.rows, layer.columns, groups)
    assert abs(sums).max() < 2**24
    operands = [
        reference.codes(generator.standard_normal(sums.shape), step.quantization)
        for step in layer.epilogue.steps
        if isinstance(step, Operand) and step.quantization
    ]
    expected = reference.finished(sums * (scales * source.scale) + bias, layer.epilogue, operands)
    arrays = (packed(image, layer.isa), *layer.pack(weights, scales, bias))
    inputs = (*arrays, *(packed(each, layer.isa) for each in operands))
    return Problem(layer, inputs, packed(expected, layer.isa).shape, expected)


def outputs(layer: Layer, batch: int) -> tuple[Array, Array]:
    """What the kernel writes, padding left out, and what numpy says."""
    given = problem(layer, batch)
    (output,) = run(layer.kernel(), layer.isa, *given.inputs)
    return output[..., : given.expected.shape[-1]], given.expected
