"""Counts bit-operations: multiply-accumulates times the bits of the weight times those of the activation.

Amortized over T frames the count of ResQ is [key + (T - 1) residual] / T. Two things it does not show, and which are
given beside it: the peak, that of a key frame, does not fall; and the key frame's values must be kept.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from edgeml.models.video.graph import Conv, Dense, VideoGraph
from edgeml.models.video.resq.bits import FLOAT_BITS, Bits
from edgeml.models.video.resq.network import ResQNetwork, is_key
from edgeml.models.video.resq.shapes import value_shapes
from edgeml.models.video.resq.tiles import mean_bits


@dataclass(frozen=True, kw_only=True)
class LayerWork:
    """Of one linear layer and one frame.

    Attributes:
        macs: multiply-accumulates; taps in the padding count.
        x: name of the value it reads.
        input_size: (height, width) of that value, (1, 1) of a flat one.
        input_values: how many values it reads.
        output_values: how many it makes.
    """

    macs: int
    x: str
    input_size: tuple[int, int]
    input_values: int
    output_values: int


@dataclass(frozen=True, kw_only=True)
class BitOperations:
    """Of a frame.

    Attributes:
        key: of a key frame.
        residual: of a frame between; 0 where all are key frames.
        key_interval: T.
        state_bytes: what is kept from the key frame, in float32.
    """

    key: int
    residual: float
    key_interval: int
    state_bytes: int

    @property
    def amortized(self) -> float:
        """Mean over an interval."""
        return (self.key + (self.key_interval - 1) * self.residual) / self.key_interval

    @property
    def peak(self) -> float:
        """Of the dearest frame."""
        return max(self.key, self.residual if self.key_interval > 1 else 0)

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"amortized": self.amortized, "peak": self.peak, "state_bytes": self.state_bytes}


def work(graph: VideoGraph) -> dict[str, LayerWork]:
    """The linear layers' work on a frame, by name, in order."""
    shapes = value_shapes(graph)
    return {
        step.name: _layer_work(step, shapes[step.x], shapes[step.name])
        for step in graph.steps
        if isinstance(step, Conv | Dense)
    }


def bit_operations(graph: VideoGraph, key: Bits, residual: Bits, key_interval: int) -> BitOperations:
    """Of a network with the same bits everywhere; an interval of 1 is frame by frame.

    Raises:
        UsageError: `key_interval` is not positive.
    """
    is_key(0, key_interval)
    layers = work(graph)
    macs = sum(layer.macs for layer in layers.values())
    repeated = key_interval > 1
    return BitOperations(
        key=macs * key.product,
        residual=macs * residual.product if repeated else 0,
        key_interval=key_interval,
        state_bytes=_state_bytes(layers) if repeated else 0,
    )


def tiled_bit_operations(network: ResQNetwork, tile_bits: Mapping[str, Tensor]) -> float:
    """Of a Dynamic-ResQ frame, mean over the batch: a layer's work is shared out over the pixels of its input.

    Args:
        network: with `tiles`.
        tile_bits: as `residual_frame` leaves them.
    """
    assert network.tiles is not None, "the caller has tiles' bits"
    weights = network.residual.weights or FLOAT_BITS
    tile = network.tiles.tile
    return sum(
        layer.macs * weights * mean_bits(tile_bits[name], layer.input_size, tile)
        for name, layer in work(network.graph).items()
    )


def _state_bytes(layers: Mapping[str, LayerWork]) -> int:
    sizes = {layer.x: layer.input_values for layer in layers.values()}
    sizes |= {name: layer.output_values for name, layer in layers.items()}
    return 4 * sum(sizes.values())


def _layer_work(step: Conv | Dense, x: tuple[int, ...], z: tuple[int, ...]) -> LayerWork:
    return LayerWork(
        macs=math.prod(z) * step.weight[0].size,
        x=step.x,
        input_size=(x[2], x[3]) if len(x) == 4 else (1, 1),
        input_values=math.prod(x),
        output_values=math.prod(z),
    )
