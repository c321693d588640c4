"""Gives a network in codes another gate, and its layers tiles and thresholds that go with it."""

from __future__ import annotations

from dataclasses import replace

from edgeml.models.video.graph import FRAME
from edgeml.models.video.quantized import CodeConv, CodeGraph, Gate

_SMALLEST = 2
_FIRST_STRIDE = 2


def gated(graph: CodeGraph, gate: Gate, *, layer_threshold: int = 0) -> CodeGraph:
    """The network with that gate.

    Args:
        graph: the network; is not changed.
        gate: at the frame; its tiles set those of the layers (`layer_tile`).
        layer_threshold: of every convolution, in sixteenths of a code.
    """
    steps = (replace(step, threshold=layer_threshold) if isinstance(step, CodeConv) else step for step in graph.steps)
    return with_layer_tiles(replace(graph, gate=gate, steps=tuple(steps)))


def with_layer_tiles(graph: CodeGraph) -> CodeGraph:
    """The network with the tiles of its layers set by those of its gate (`layer_tile`)."""
    return replace(
        graph,
        steps=tuple(
            replace(step, tile=layer_tile(graph, step.name, graph.gate.tile)) if isinstance(step, CodeConv) else step
            for step in graph.steps
        ),
    )


def layer_tile(graph: CodeGraph, name: str, tile: int) -> int:
    """Side of the tiles of the layer that makes the value `name`.

    At half of the frame's size and above it is the frame's own; at a quarter and below a tile covers as much of the
    frame as there, as long as it has 2x2 pixels: eight pixels of a deep layer are a large part of the picture. Kernels
    compute small tiles at a slightly lower rate, but fewer of them.
    """
    stride = max(1, round(graph.shapes[FRAME][1] / graph.shapes[name][1]))
    return min(tile, max(_SMALLEST, tile * _FIRST_STRIDE // stride))
