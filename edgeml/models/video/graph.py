"""A float network as a list of the few kinds of steps that video conversion knows, batch normalization folded.

Both modes, gated and resq, start from it. Values are NCHW, named by the step that makes them; "frame" is the input.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import torch

FRAME = "frame"


@dataclass(frozen=True, kw_only=True)
class Conv:
    """A convolution.

    Attributes:
        name: of the value it makes.
        x: the value it reads.
        weight: float32 (out channels, in channels / group, kernel height, kernel width).
        bias: float32 (out channels); zeros where the module has none.
        strides: (height, width).
        pads: top, left, bottom, right.
        dilations: (height, width).
        group: groups of channels.
    """

    name: str
    x: str
    weight: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilations: tuple[int, int] = (1, 1)
    group: int = 1


@dataclass(frozen=True, kw_only=True)
class Pointwise:
    """A function of each value alone: ReLU, ReLU6, hard swish, sigmoid and their like.

    Attributes:
        name: of the value it makes.
        x: the value it reads.
        operator: what it is, as torch calls it ("relu").
        function: the same on tensors.
    """

    name: str
    x: str
    operator: str
    function: Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class Add:
    """The sum of two values of one shape."""

    name: str
    a: str
    b: str


@dataclass(frozen=True, kw_only=True)
class Concat:
    """Values side by side along their channels.

    Attributes:
        name: of the value it makes.
        parts: the values it reads, two or more.
    """

    name: str
    parts: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Pool:
    """Maximum or mean over windows; padding counts for neither.

    Attributes:
        name: of the value it makes.
        x: the value it reads.
        mode: which.
        kernel_shape: (height, width).
        strides: (height, width).
        pads: top, left, bottom, right.
    """

    name: str
    x: str
    mode: Literal["max", "average"]
    kernel_shape: tuple[int, int]
    strides: tuple[int, int]
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)


@dataclass(frozen=True, kw_only=True)
class Resize:
    """Upsampling by a whole factor: nearest by any, linear (half-pixel centres, edges repeated) by 2 or 4."""

    name: str
    x: str
    mode: Literal["nearest", "linear"]
    factor: int


@dataclass(frozen=True, kw_only=True)
class GlobalPool:
    """The mean of each channel: (batch, channels, height, width) to (batch, channels, 1, 1)."""

    name: str
    x: str


@dataclass(frozen=True, kw_only=True)
class Dense:
    """A linear layer on a flattened value.

    Attributes:
        name: of the value it makes, (batch, out features).
        x: the value it reads, flattened from its second axis on.
        weight: float32 (out features, in features).
        bias: float32 (out features).
    """

    name: str
    x: str
    weight: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]


Step = Conv | Pointwise | Add | Concat | Pool | Resize | GlobalPool | Dense


@dataclass(frozen=True, kw_only=True)
class VideoGraph:
    """A network.

    Attributes:
        steps: in an order in which each reads only what is there.
        output: name of the value that is the result.
        input_shape: of one frame, (channels, height, width).
    """

    steps: tuple[Step, ...]
    output: str
    input_shape: tuple[int, int, int]


def inputs_of(step: Step) -> tuple[str, ...]:
    """Names of the values a step reads."""
    match step:
        case Add():
            return (step.a, step.b)
        case Concat():
            return step.parts
        case _:
            return (step.x,)
