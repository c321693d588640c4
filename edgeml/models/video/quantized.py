"""A video graph in 8-bit codes: what is recomputed where something changed, and the float end of a classifier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from edgeml.models.video.graph import Step
from edgeml.models.video.ranges import CodeRange

Codes = npt.NDArray[np.uint8]

IDENTITY: Codes = np.arange(256, dtype=np.uint8)
IDENTITY.flags.writeable = False


@dataclass(frozen=True, kw_only=True)
class Gate:
    """Which tiles of a frame pass into the network.

    Attributes:
        tile: height and width in pixels of the frame's tiles, and of those of layers that have its size.
        threshold: in sixteenths of a code of the frame; a tile passes that differs by more from what passed before.
        rms: compares the root of a tile's mean square difference; otherwise its greatest difference.
    """

    tile: int = 8
    threshold: int = 0
    rms: bool = False


@dataclass(frozen=True, kw_only=True)
class CodeConv:
    """A convolution of codes, with the function after it.

    Attributes:
        name: of the value it makes.
        x: the value it reads.
        weight: int8 (out channels, in channels / group, kernel height, kernel width).
        weight_scale: float32 (out channels).
        bias: int32 (out channels), in the scale of the input times that of the weights.
        multiplier: float32 (out channels), scale of a sum over that of `before`.
        before: codes of the sums, before the table.
        table: uint8 (256), what each becomes.
        strides: (height, width).
        pads: top, left, bottom, right.
        dilations: (height, width).
        group: groups of channels.
        threshold: in sixteenths of a code; a tile of the result is renewed only where it differs by more.
        tile: height and width in pixels of the result's tiles.
    """

    name: str
    x: str
    weight: npt.NDArray[np.int8]
    weight_scale: npt.NDArray[np.float32]
    bias: npt.NDArray[np.int32]
    multiplier: npt.NDArray[np.float32]
    before: CodeRange
    table: Codes
    strides: tuple[int, int]
    pads: tuple[int, int, int, int]
    dilations: tuple[int, int]
    group: int
    threshold: int = 0
    tile: int = 8


@dataclass(frozen=True, kw_only=True)
class CodeAdd:
    """The sum of two values of one shape, with the function after it.

    Attributes:
        name: of the value it makes.
        a: the first value it reads.
        b: the second.
        before: codes of the sum, before the table.
        table: uint8 (256), what each becomes.
    """

    name: str
    a: str
    b: str
    before: CodeRange
    table: Codes

    def multiplier(self, part: CodeRange) -> float:
        """Scale of one of its inputs over that of the sum, a float32 number."""
        return float(np.float32(part.scale) / np.float32(self.before.scale))


@dataclass(frozen=True, kw_only=True)
class CodeConcat:
    """Two values side by side along their channels, brought to one scale by a table each, uint8 (256).

    Attributes:
        name: of the value it makes.
        a: the value with the first channels.
        b: the value with the last.
        table_a: what each code of `a` becomes.
        table_b: what each code of `b` becomes.
        whole: name of the last of a chain of these, which joins three values and more; of itself where there is none.
    """

    name: str
    whole: str
    a: str
    b: str
    table_a: Codes
    table_b: Codes


@dataclass(frozen=True, kw_only=True)
class CodeTable:
    """A function of each code alone, as a table, uint8 (256)."""

    name: str
    x: str
    table: Codes


@dataclass(frozen=True, kw_only=True)
class CodePool:
    """Maximum or mean over windows, in the scale of what it reads; padding (top, left, bottom, right) never counts."""

    name: str
    x: str
    mode: Literal["max", "average"]
    kernel_shape: tuple[int, int]
    strides: tuple[int, int]
    pads: tuple[int, int, int, int]


@dataclass(frozen=True, kw_only=True)
class CodeResize:
    """Upsampling by a whole factor, in the scale of what it reads."""

    name: str
    x: str
    mode: Literal["nearest", "linear"]
    factor: int


CodeStep = CodeConv | CodeAdd | CodeConcat | CodeTable | CodePool | CodeResize


@dataclass(frozen=True, kw_only=True)
class CodeGraph:
    """A network in codes.

    Attributes:
        steps: in an order in which each reads only what is there.
        tail: steps in float32 after the last map: global pooling, linear layers and what lies between.
        ranges: codes of the frame and of each step's value.
        shapes: of the frame and of each value, (channels, height, width), of one in the tail (channels, 1, 1) or
            (features,).
        output: name of the value that is the result, of a step or of the tail.
        gate: at the frame.
    """

    steps: tuple[CodeStep, ...]
    tail: tuple[Step, ...]
    ranges: dict[str, CodeRange]
    shapes: dict[str, tuple[int, ...]]
    output: str
    gate: Gate

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of one frame, (channels, height, width)."""
        return self.shapes["frame"]

    @property
    def gated(self) -> tuple[str, ...]:
        """Names of the values kept from frame to frame: the frame itself, then each step's."""
        return ("frame", *(step.name for step in self.steps))


def code_inputs(step: CodeStep) -> tuple[str, ...]:
    """Names of the values a step reads."""
    match step:
        case CodeAdd() | CodeConcat():
            return (step.a, step.b)
        case _:
            return (step.x,)
