"""Chooses the tiles of deep layers: there a tile of 8x8 pixels would be a large part of the picture."""

from __future__ import annotations

from edgeml.models.video.graph import FRAME
from edgeml.models.video.quantized import CodeConv, CodeGraph

_SMALLEST = 2
_FIRST_STRIDE = 2


def layer_tiles(graph: CodeGraph) -> dict[str, int]:
    """Side of the tiles of each convolution, by its name.

    At half of the frame's size and above it is the gate's; at a quarter and below a tile covers as much of the frame as
    there, as long as it has 2x2 pixels. Kernels compute small tiles at a slightly lower rate, but fewer of them.
    """
    height = graph.shapes[FRAME][1]
    tiles = {}
    for step in graph.steps:
        if isinstance(step, CodeConv):
            stride = max(1, round(height / graph.shapes[step.name][1]))
            smaller = graph.gate.tile * _FIRST_STRIDE // stride
            tiles[step.name] = min(graph.gate.tile, max(_SMALLEST, smaller))
    return tiles
