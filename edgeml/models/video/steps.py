"""Collects the steps of a video graph while a network is read, folding what needs no step of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from edgeml.models.video.graph import (
    FRAME,
    Add,
    Concat,
    Conv,
    Dense,
    GlobalPool,
    Pointwise,
    Pool,
    Resize,
    Step,
    VideoGraph,
    inputs_of,
)

if TYPE_CHECKING:
    import torch

NO_PADS = (0, 0, 0, 0)


@dataclass(frozen=True, kw_only=True)
class Value:
    """A tensor that depends on the frame, as the network sees it.

    Attributes:
        name: the step's value that it is.
        shape: its shape in the network, batch 1 first; a view may have another shape than the step makes.
        pads: top, left, bottom, right padding that the network put around it and no step has taken up yet.
        pad_value: what the padding is filled with.
    """

    name: str
    shape: tuple[int, ...]
    pads: tuple[int, int, int, int] = NO_PADS
    pad_value: float = 0.0


class Steps:
    """A video graph in the making.

    Attributes:
        input_shape: of one frame, (channels, height, width).
        shapes: shape of each value as its step makes it, batch 1 first.
        pooled: names of values that have no rows and columns any more, and of those computed from them.
    """

    def __init__(self, input_shape: tuple[int, int, int]) -> None:
        self.input_shape = input_shape
        self.shapes: dict[str, tuple[int, ...]] = {FRAME: (1, *input_shape)}
        self.pooled: set[str] = set()
        self._steps: dict[str, Step] = {}

    def graph(self, output: str) -> VideoGraph:
        """The graph that makes `output`, without steps that nothing needs."""
        needed, kept = {output}, []
        for step in reversed(self._steps.values()):
            if step.name in needed:
                needed.update(inputs_of(step))
                kept.append(step)
        return VideoGraph(steps=tuple(reversed(kept)), output=output, input_shape=self.input_shape)

    def conv(
        self,
        name: str,
        x: str,
        weight: npt.NDArray[np.float32],
        bias: npt.NDArray[np.float32],
        *,
        strides: tuple[int, int] = (1, 1),
        pads: tuple[int, int, int, int] = NO_PADS,
        dilations: tuple[int, int] = (1, 1),
        group: int = 1,
    ) -> Value:
        """A convolution's value."""
        _, _, *size = self.shapes[x]
        height, width = (
            (size[axis] + pads[axis] + pads[axis + 2] - dilations[axis] * (weight.shape[axis + 2] - 1) - 1)
            // strides[axis]
            + 1
            for axis in (0, 1)
        )
        step = Conv(
            name=self._unused(name), x=x, weight=weight, bias=bias, strides=strides, pads=pads, dilations=dilations,
            group=group,
        )  # fmt: skip
        return self._add(step, (1, len(weight), height, width))

    def affine(
        self, name: str, x: str, scale: npt.NDArray[np.float64], shift: npt.NDArray[np.float64], *, alone: bool
    ) -> Value:
        """`x * scale + shift` with one of each per channel: batch normalization, and constants in the network.

        Args:
            name: of the value if it needs a step.
            x: the value read.
            scale: float64 (channels).
            shift: float64 (channels).
            alone: nothing else reads `x`, so that a convolution or linear layer that makes it can take it in; other
                values go through a depthwise convolution of one pixel.
        """
        shape = self.shapes[x]
        if np.all(scale == 1) and not shift.any():
            return Value(name=x, shape=shape)
        before = self._steps.get(x)
        if alone and isinstance(before, Conv | Dense):
            per_filter = scale.reshape(-1, *(1,) * (before.weight.ndim - 1))
            folded = replace(
                before,
                weight=(before.weight * per_filter).astype(np.float32),
                bias=(before.bias * scale + shift).astype(np.float32),
            )
            self._steps[x] = folded
            return Value(name=x, shape=shape)
        if len(shape) == 2:  # (batch, features)
            return self.dense(name, x, np.diag(scale).astype(np.float32), shift.astype(np.float32))
        filters = scale.astype(np.float32).reshape(-1, 1, 1, 1)
        return self.conv(name, x, filters, shift.astype(np.float32), group=len(scale))

    def pointwise(self, name: str, x: str, operator: str, function: Callable[[torch.Tensor], torch.Tensor]) -> Value:
        """The value of a function of each element alone."""
        return self._add(Pointwise(name=self._unused(name), x=x, operator=operator, function=function), self.shapes[x])

    def add(self, name: str, a: str, b: str) -> Value:
        """The sum of two values of one shape."""
        return self._add(Add(name=self._unused(name), a=a, b=b), self.shapes[a])

    def concat(self, name: str, parts: tuple[str, ...]) -> Value:
        """Two or more values side by side along their second axis."""
        first = self.shapes[parts[0]]
        channels = sum(self.shapes[part][1] for part in parts)
        return self._add(Concat(name=self._unused(name), parts=parts), (1, channels, *first[2:]))

    def pool(
        self,
        name: str,
        x: str,
        mode: Literal["max", "average"],
        kernel_shape: tuple[int, int],
        strides: tuple[int, int],
        pads: tuple[int, int, int, int],
    ) -> Value:
        """The maximum or mean of windows; padding counts for neither."""
        _, channels, *size = self.shapes[x]
        height, width = (
            (size[axis] + pads[axis] + pads[axis + 2] - kernel_shape[axis]) // strides[axis] + 1 for axis in (0, 1)
        )
        step = Pool(name=self._unused(name), x=x, mode=mode, kernel_shape=kernel_shape, strides=strides, pads=pads)
        return self._add(step, (1, channels, height, width))

    def resize(self, name: str, x: str, mode: Literal["nearest", "linear"], factor: int) -> Value:
        """A map enlarged by a whole factor."""
        _, channels, height, width = self.shapes[x]
        step = Resize(name=self._unused(name), x=x, mode=mode, factor=factor)
        return self._add(step, (1, channels, height * factor, width * factor))

    def global_pool(self, name: str, x: str) -> Value:
        """The mean of each channel, (1, channels, 1, 1)."""
        return self._add(GlobalPool(name=self._unused(name), x=x), (1, self.shapes[x][1], 1, 1))

    def dense(self, name: str, x: str, weight: npt.NDArray[np.float32], bias: npt.NDArray[np.float32]) -> Value:
        """A linear layer's value, (1, out features)."""
        return self._add(Dense(name=self._unused(name), x=x, weight=weight, bias=bias), (1, len(weight)))

    def _add(self, step: Step, shape: tuple[int, ...]) -> Value:
        self._steps[step.name] = step
        self.shapes[step.name] = shape
        if isinstance(step, GlobalPool | Dense) or self.pooled.intersection(inputs_of(step)):
            self.pooled.add(step.name)
        return Value(name=step.name, shape=shape)

    def _unused(self, name: str) -> str:
        """`name`, or with a number where another value has it: a module may be called twice."""
        unused, count = name, 2
        while unused in self.shapes:
            unused, count = f"{name}_{count}", count + 1
        return unused
