"""Runs a video graph in float32, frame by frame for itself: what both modes are held against."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
)

if TYPE_CHECKING:
    from torch import Tensor

Values = dict[str, npt.NDArray[np.float32]]


def run(graph: VideoGraph, frames: npt.NDArray[np.float32]) -> Values:
    """Every value of the graph by name, "frame" among them, for a batch of frames.

    Args:
        graph: the network.
        frames: float32 (batch, channels, height, width).

    Raises:
        ValueError: the frames have another shape than the graph's.
    """
    import torch

    if frames.ndim != 4 or frames.shape[1:] != graph.input_shape:
        raise ValueError(f"frames of shape {frames.shape}; the graph takes (batch, {graph.input_shape})")
    with torch.no_grad():
        values: dict[str, Tensor] = {FRAME: torch.from_numpy(np.ascontiguousarray(frames, np.float32))}
        for step in graph.steps:
            values[step.name] = compute(step, values)
    return {name: value.numpy() for name, value in values.items()}


def compute(step: Step, values: dict[str, Tensor]) -> Tensor:
    """The value of one step, float32, from those before it."""
    import torch
    from torch.nn import functional as F

    match step:
        case Conv():
            x = F.pad(values[step.x], _torch_pads(step.pads)) if any(step.pads) else values[step.x]
            weight, bias = torch.from_numpy(step.weight), torch.from_numpy(step.bias)
            return F.conv2d(x, weight, bias, step.strides, 0, step.dilations, step.group)
        case Pointwise():
            return step.function(values[step.x].clone())  # a function may write into its argument
        case Add():
            return values[step.a] + values[step.b]
        case Concat():
            return torch.cat([values[part] for part in step.parts], 1)
        case Pool():
            return _pool(step, values[step.x])
        case Resize(mode="nearest"):
            return values[step.x].repeat_interleave(step.factor, 2).repeat_interleave(step.factor, 3)
        case Resize():
            # Sizes and not factors, so that torch takes the ratio that they say.
            height, width = values[step.x].shape[2:]
            size = (height * step.factor, width * step.factor)
            return F.interpolate(values[step.x], size, mode="bilinear", align_corners=False)
        case GlobalPool():
            return values[step.x].mean((2, 3), keepdim=True)
        case Dense():
            return F.linear(values[step.x].flatten(1), torch.from_numpy(step.weight), torch.from_numpy(step.bias))


def _pool(step: Pool, x: Tensor) -> Tensor:
    import torch
    from torch.nn import functional as F

    pads: Any = _torch_pads(step.pads)
    if step.mode == "max":
        return F.max_pool2d(F.pad(x, pads, value=-torch.inf), step.kernel_shape, step.strides)
    # Sums over windows, divided by how many of their pixels are in the image.
    area = step.kernel_shape[0] * step.kernel_shape[1]
    total = F.avg_pool2d(F.pad(x, pads), step.kernel_shape, step.strides) * area
    ones = F.pad(torch.ones_like(x[:1, :1]), pads)
    return total / (F.avg_pool2d(ones, step.kernel_shape, step.strides) * area).round()


def _torch_pads(pads: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    """Left, right, top, bottom, as torch orders them."""
    top, left, bottom, right = pads
    return left, right, top, bottom
