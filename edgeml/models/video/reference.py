"""A network in codes by numpy, frame after frame, or each frame whole: what its ONNX files are held against.

Not made for speed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from edgeml.models.video.execute import compute
from edgeml.models.video.graph import FRAME
from edgeml.models.video.quantized import (
    CodeAdd,
    CodeConcat,
    CodeConv,
    CodeGraph,
    CodePool,
    CodeResize,
    Codes,
    CodeStep,
    CodeTable,
)
from edgeml.ops.residual import (
    residual_add,
    residual_concat,
    residual_conv,
    residual_pool,
    residual_resize,
    residual_table,
    tile_gate,
)


@dataclass(frozen=True, kw_only=True)
class CodeFrame:
    """One frame's result.

    Attributes:
        output: float32 (1, channels, height, width) or (1, classes).
        states: codes of the frame as let through and of every step, uint8 (1, height, width, channels) by name; what
            the next frame needs.
        changed: their pixel maps, uint8 (1, height, width) by name.
    """

    output: npt.NDArray[np.float32]
    states: dict[str, Codes]
    changed: dict[str, Codes]

    @property
    def activity(self) -> npt.NDArray[np.float32]:
        """Share of pixels that changed, float32 (gated steps), in the order of the graph's steps."""
        return np.array([changed.mean() for changed in self.changed.values()], np.float32)


def key_frame(graph: CodeGraph, frame: npt.NDArray[np.float32]) -> CodeFrame:
    """A frame computed whole, whatever came before it.

    Args:
        graph: the network.
        frame: float32 (1, channels, height, width).
    """
    codes = _codes(graph, frame)
    states, changed = {FRAME: codes}, {FRAME: np.ones(codes.shape[:3], np.uint8)}
    for step in graph.steps:
        channels, height, width = graph.shapes[step.name]
        # A residual step gives all of its result where all of its input counts as changed.
        whole = replace(step, threshold=0) if isinstance(step, CodeConv) else step
        states[step.name], _ = _step(graph, whole, states, changed, np.zeros((1, height, width, channels), np.uint8))
        changed[step.name] = np.ones((1, height, width), np.uint8)
    return CodeFrame(output=_output(graph, states), states=states, changed=changed)


def residual_frame(graph: CodeGraph, frame: npt.NDArray[np.float32], states: Mapping[str, Codes]) -> CodeFrame:
    """A frame of which only what changed is computed anew.

    Args:
        graph: the network.
        frame: float32 (1, channels, height, width).
        states: of the frame before.
    """
    gate = graph.gate
    codes, passed = tile_gate.reference(
        _codes(graph, frame), states[FRAME], tile=gate.tile, threshold=gate.threshold, rms=int(gate.rms)
    )
    renewed, changed = {FRAME: codes}, {FRAME: passed}
    for step in graph.steps:
        renewed[step.name], changed[step.name] = _step(graph, step, renewed, changed, states[step.name])
    return CodeFrame(output=_output(graph, renewed), states=renewed, changed=changed)


def _codes(graph: CodeGraph, frame: npt.NDArray[np.float32]) -> Codes:
    if frame.shape != (1, *graph.input_shape):
        raise ValueError(f"a frame of shape {frame.shape}; the network takes (1, {graph.input_shape})")
    return np.ascontiguousarray(graph.ranges[FRAME].quantize(frame).transpose(0, 2, 3, 1))


def _step(
    graph: CodeGraph, step: CodeStep, codes: Mapping[str, Codes], changed: Mapping[str, Codes], previous: Codes
) -> tuple[Codes, Codes]:
    """A step's codes and their pixel map."""
    ranges = graph.ranges
    match step:
        case CodeConv():
            return residual_conv.reference(
                codes[step.x], changed[step.x], step.weight, step.multiplier, step.bias, step.table, previous,
                kernel_shape=step.weight.shape[2:], x_zero_point=ranges[step.x].zero_point,
                y_zero_point=step.before.zero_point, group=step.group, strides=step.strides, pads=step.pads,
                dilations=step.dilations, tile=step.tile, threshold=step.threshold,
            )  # fmt: skip
        case CodeAdd():
            a, b = ranges[step.a], ranges[step.b]
            return residual_add.reference(
                codes[step.a], changed[step.a], codes[step.b], changed[step.b], step.table, previous,
                a_multiplier=step.multiplier(a), b_multiplier=step.multiplier(b), a_zero_point=a.zero_point,
                b_zero_point=b.zero_point, y_zero_point=step.before.zero_point,
            )  # fmt: skip
        case CodeConcat():
            return residual_concat.reference(
                codes[step.a], changed[step.a], codes[step.b], changed[step.b], step.table_a, step.table_b, previous
            )
        case CodeTable():
            return residual_table.reference(codes[step.x], changed[step.x], step.table, previous)
        case CodePool():
            return residual_pool.reference(
                codes[step.x], changed[step.x], previous, kernel_shape=step.kernel_shape,
                zero_point=ranges[step.x].zero_point, strides=step.strides, pads=step.pads,
                average=int(step.mode == "average"),
            )  # fmt: skip
        case CodeResize():
            linear = int(step.mode == "linear")
            return residual_resize.reference(
                codes[step.x], changed[step.x], previous, factor=step.factor, linear=linear
            )


def _output(graph: CodeGraph, codes: Mapping[str, Codes]) -> npt.NDArray[np.float32]:
    import torch

    values = {
        name: torch.from_numpy(np.ascontiguousarray(graph.ranges[name].dequantize(kept).transpose(0, 3, 1, 2)))
        for name, kept in codes.items()
    }
    with torch.no_grad():
        for step in graph.tail:
            values[step.name] = compute(step, values)
    return values[graph.output].numpy()
