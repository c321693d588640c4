"""The shapes of a video graph's values, from those of its steps; nothing is computed."""

from __future__ import annotations

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
    VideoGraph,
)

Shape = tuple[int, ...]


def value_shapes(graph: VideoGraph) -> dict[str, Shape]:
    """The shape of every value for one frame by name, (1, channels, height, width) or (1, features)."""
    shapes: dict[str, Shape] = {FRAME: (1, *graph.input_shape)}
    for step in graph.steps:
        match step:
            case Conv():
                size = _windows(shapes[step.x], step.weight.shape[2:], step.strides, step.pads, step.dilations)
                shapes[step.name] = (1, len(step.weight), *size)
            case Pool():
                size = _windows(shapes[step.x], step.kernel_shape, step.strides, step.pads, (1, 1))
                shapes[step.name] = (*shapes[step.x][:2], *size)
            case Dense():
                shapes[step.name] = (1, len(step.weight))
            case Add():
                shapes[step.name] = shapes[step.a]
            case Pointwise():
                shapes[step.name] = shapes[step.x]
            case Concat():
                parts = [shapes[part] for part in step.parts]
                shapes[step.name] = (1, sum(part[1] for part in parts), *parts[0][2:])
            case Resize():
                batch, channels, height, width = shapes[step.x]
                shapes[step.name] = (batch, channels, height * step.factor, width * step.factor)
            case GlobalPool():
                shapes[step.name] = (*shapes[step.x][:2], 1, 1)
    return shapes


def _windows(x: Shape, kernel: Shape, strides: Shape, pads: Shape, dilations: Shape) -> tuple[int, ...]:
    return tuple(
        (x[2 + axis] + pads[axis] + pads[axis + 2] - dilations[axis] * (kernel[axis] - 1) - 1) // strides[axis] + 1
        for axis in (0, 1)
    )
