"""Writes random convolutions of signs with the counts that numpy gives: what native/tests/play_cases.cpp plays.

    python tests/native/write_cases.py FILE --cases 10000

The form of the file is told in play_cases.cpp.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from edgeml.ops.binary_conv import counts

MAGIC = b"edgeml binary cases 1\n"
# One case in so many is of a network's size, so that tiles and blocks are filled and left again.
LARGE_EVERY = 40


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    generator = np.random.default_rng(arguments.seed)
    with arguments.file.open("wb") as file:
        file.write(MAGIC + np.uint32(arguments.cases).astype("<u4").tobytes())
        for index in range(arguments.cases):
            write_case(file, generator, large=index % LARGE_EVERY == 0)


def write_case(file: BinaryIO, generator: np.random.Generator, *, large: bool) -> None:
    """One random geometry with random weights and signs."""
    while True:
        batch, shape, out_channels, attributes = random_geometry(generator, large=large)
        if min(out_sizes(shape, attributes)) >= 1:
            break
    channels, group, kernel = attributes["channels"], attributes["group"], attributes["kernel_shape"]
    bits = channels // group * kernel[0] * kernel[1]
    weights = np.packbits(generator.integers(0, 2, (out_channels, bits), np.uint8), axis=-1, bitorder="little")
    negative = generator.integers(0, 2, (batch, channels, *shape), np.uint8)
    x = np.where(negative, -1, 1).astype(np.float32)
    expected = counts(x, weights, np.zeros(channels, np.float32), **attributes)
    numbers = (
        batch, channels, *shape, out_channels, group, *kernel,
        *attributes["strides"], *attributes["dilations"], *attributes["pads"],
    )  # fmt: skip
    file.write(np.array(numbers, "<i8").tobytes())
    file.write(weights.tobytes())
    file.write(np.packbits(negative.reshape(-1), bitorder="little").tobytes())
    file.write(np.ascontiguousarray(expected).astype("<i4").tobytes())


def random_geometry(generator: np.random.Generator, *, large: bool) -> tuple[int, tuple[int, int], int, dict[str, Any]]:
    """Batch, (height, width), output channels and the operator's attributes; the kernel may not fit the image."""

    def pick(low: int, high: int) -> int:
        return int(generator.integers(low, high + 1))

    def pair(low: int, high: int) -> tuple[int, int]:
        return pick(low, high), pick(low, high)

    dense = generator.random() < 0.1  # as BinaryDense has it
    group = 1 if dense or generator.random() < 0.6 else pick(2, 5)
    attributes = {
        "channels": group * pick(1, 300 if large and group == 1 else 75 // group),
        "group": group,
        "kernel_shape": (1, 1) if dense else pair(1, 4),
        "strides": pair(1, 3) if generator.random() < 0.5 else (1, 1),
        "dilations": pair(1, 3) if generator.random() < 0.3 else (1, 1),
        "pads": (0, 0, 0, 0) if dense else (*pair(0, 3), *pair(0, 3)),
    }
    shape = (1, 1) if dense else pair(7, 24) if large else pair(1, 9)
    return pick(1, 3), shape, group * pick(1, 90 if large else 40 // group), attributes


def out_sizes(shape: tuple[int, int], attributes: dict[str, Any]) -> list[int]:
    """Height and width of the output, as ONNX's Conv defines them."""
    sizes = []
    for axis in (0, 1):
        extent = attributes["dilations"][axis] * (attributes["kernel_shape"][axis] - 1) + 1
        padded = shape[axis] + attributes["pads"][axis] + attributes["pads"][axis + 2]
        sizes.append((padded - extent) // attributes["strides"][axis] + 1)
    return sizes


if __name__ == "__main__":
    main()
