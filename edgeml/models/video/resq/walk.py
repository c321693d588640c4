"""Walks through a video graph: linear layers are the caller's, all other steps are computed in float32."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from edgeml.models.video.execute import compute
from edgeml.models.video.graph import FRAME, Conv, Dense, VideoGraph, inputs_of

Linear = Callable[[Conv | Dense, Tensor], Tensor]


def walk(graph: VideoGraph, frame: Tensor, linear: Linear) -> Tensor:
    """The network's result; a value is let go after the last step that reads it.

    Args:
        graph: the network.
        frame: float32 (batch, channels, height, width).
        linear: gets each convolution and dense layer with its input, in order, and gives its output.
    """
    last_reader = {name: step.name for step in graph.steps for name in inputs_of(step)}
    values = {FRAME: frame}
    for step in graph.steps:
        if isinstance(step, Conv | Dense):
            values[step.name] = linear(step, values[step.x])
        else:
            values[step.name] = compute(step, values)
        for name in set(inputs_of(step)):
            if last_reader[name] == step.name and name != graph.output:
                del values[name]
    return values[graph.output]
