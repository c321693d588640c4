"""Writes random frames of ResidualConv with numpy's outputs: what native/tests/play_residual_conv_cases.cpp plays.

    python tests/native/write_residual_cases.py FILE --cases 2000

The form of the file is told in play_residual_conv_cases.cpp.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from edgeml.ops.residual.residual_conv import reference

MAGIC = b"edgeml residual cases 1\n"
# One case in so many is of a network's size, so that tiles lie inside the image and blocks are filled and left again.
LARGE_EVERY = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    generator = np.random.default_rng(arguments.seed)
    with arguments.file.open("wb") as file:
        file.write(MAGIC + np.uint32(arguments.cases).astype("<u4").tobytes())
        for index in range(arguments.cases):
            write_case(file, generator, large=index % LARGE_EVERY == 0)


def write_case(file: BinaryIO, generator: np.random.Generator, *, large: bool) -> None:
    """One random layer and frame."""
    batch, shape, channels, filters, attributes = random_layer(generator, large=large)
    while min(out_sizes(shape, attributes)) < 1:
        batch, shape, channels, filters, attributes = random_layer(generator, large=large)
    kernel, group = attributes["kernel_shape"], attributes["group"]
    x = generator.integers(0, 256, (batch, *shape, channels), np.uint8)
    weights = generator.integers(-128, 128, (filters, channels // group, *kernel), np.int8)
    if generator.random() < 0.1:  # the largest products that there are
        x[...] = 255
        weights[...] = -128 if generator.random() < 0.5 else 127
    bias = generator.integers(-(10**5), 10**5, filters).astype(np.int32)
    multiplier = random_multipliers(generator, weights, attributes["threshold"] > 0)
    table = np.arange(256, dtype=np.uint8)
    if generator.random() < 0.5:
        table = generator.integers(0, 256, 256, np.uint8)
    share = generator.choice([0, 0.002, 0.05, 0.5, 1])
    changed = (generator.random((batch, *shape)) < share).astype(np.uint8)
    previous = near(generator, x, changed, weights, multiplier, bias, table, attributes)
    y, changed_out = reference(x, changed, weights, multiplier, bias, table, previous, **attributes)
    numbers = (
        batch, *shape, channels, filters, group, *kernel, *attributes["strides"], *attributes["dilations"],
        *attributes["pads"], *(attributes[name] for name in ("x_zero_point", "y_zero_point", "tile", "threshold")),
    )  # fmt: skip
    file.write(np.array(numbers, "<i8").tobytes())
    for array in (weights, multiplier, bias, table, x, changed, previous, y, changed_out):
        file.write(np.ascontiguousarray(array).tobytes())


def random_multipliers(
    generator: np.random.Generator, weights: npt.NDArray[np.int8], moderate: bool
) -> npt.NDArray[np.float32]:
    """Such that codes spread over their range; some are ties of rounding, some beyond every integer."""
    inside = np.sqrt(np.prod(weights.shape[1:]))
    values = generator.uniform(0.001, 0.01, len(weights)) / inside
    if not moderate:
        kind = generator.random(len(weights))
        values[kind < 0.1] = 0.5
        values[kind < 0.05] = 3e38
        values[kind < 0.02] = 0
        values[generator.random(len(weights)) < 0.05] *= -1
    result: npt.NDArray[np.float32] = values.astype(np.float32)
    return result


def near(generator: np.random.Generator, *frame: Any) -> npt.NDArray[np.uint8]:
    """A previous output (N, OH, OW, M): equal to the new one, a little off in some places, or any."""
    x, changed, weights, multiplier, bias, table, attributes = frame
    shape = (len(x), *out_sizes(x.shape[1:3], attributes), len(weights))
    other = generator.integers(0, 256, shape, np.uint8)
    kind = generator.random()
    if kind < 0.3:
        return other
    everywhere = dict(attributes, threshold=0)
    fresh, _ = reference(x, np.ones_like(changed), weights, multiplier, bias, table, other, **everywhere)
    if kind < 0.5:
        off = generator.integers(-8, 9, shape) * (generator.random((*shape[:3], 1)) < 0.05)
    else:
        off = (generator.random(shape) < 0.02) * generator.integers(-1, 2, shape)
    result: npt.NDArray[np.uint8] = np.clip(fresh.astype(np.int64) + off, 0, 255).astype(np.uint8)
    return result


def random_layer(
    generator: np.random.Generator, *, large: bool
) -> tuple[int, tuple[int, int], int, int, dict[str, Any]]:
    """Batch, (height, width), channels, filters and the operator's attributes; the kernel may not fit the image."""

    def pick(low: int, high: int) -> int:
        return int(generator.integers(low, high + 1))

    def pair(low: int, high: int) -> tuple[int, int]:
        return pick(low, high), pick(low, high)

    kind = generator.random()
    if kind < 0.25:  # depthwise
        group = channels = filters = pick(1, 70)
    elif kind < 0.4:
        group = pick(2, 5)
        channels, filters = group * pick(1, 12), group * pick(1, 20)
    elif kind < 0.6:  # a first layer
        group, channels, filters = 1, pick(1, 4), pick(1, 40)
    else:
        group, channels, filters = 1, pick(1, 100 if large else 40), pick(1, 90 if large else 40)
    attributes: dict[str, Any] = {
        "group": group,
        "kernel_shape": (1, 1) if generator.random() < 0.2 else pair(1, 5),
        "strides": pair(1, 3) if generator.random() < 0.4 else (1, 1),
        "dilations": pair(1, 5) if generator.random() < 0.2 else (1, 1),
        "pads": (*pair(0, 3), *pair(0, 3)) if generator.random() < 0.7 else (0, 0, 0, 0),
        "x_zero_point": pick(0, 255),
        "y_zero_point": pick(0, 255),
        "tile": 8 if generator.random() < 0.6 else pick(1, 20),
        "threshold": 0 if generator.random() < 0.6 else pick(1, 100),
    }
    return pick(1, 2), pair(20, 70) if large else pair(1, 20), channels, filters, attributes


def out_sizes(shape: tuple[int, int], attributes: dict[str, Any]) -> list[int]:
    """Height and width of the output, as ONNX's Conv defines them."""
    kernel, strides, dilations, pads = (attributes[name] for name in ("kernel_shape", "strides", "dilations", "pads"))
    return [
        (shape[axis] + pads[axis] + pads[axis + 2] - dilations[axis] * (kernel[axis] - 1) - 1) // strides[axis] + 1
        for axis in (0, 1)
    ]


if __name__ == "__main__":
    main()
