"""ResQ (Abati et al., ICCV 2023): key frames at high precision, the frames between as low-precision residuals.

Every layer's residual is taken against the KEY frame, so that no error accumulates; nonlinearities see z in full. A
frame computed as a key frame is also what frame-by-frame quantization computes: the peer is this network with
`key_frame` alone. Float32 residuals give what frame-by-frame computation gives, up to the rounding of sums.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from edgeml.core.errors import UsageError
from edgeml.models.video.graph import Conv, Dense, VideoGraph
from edgeml.models.video.resq.bits import EIGHT, FOUR, Bits, TilePolicy
from edgeml.models.video.resq.layer import ResidualLayer
from edgeml.models.video.resq.walk import walk

KeyFrame = dict[str, Tensor]
"""What residual frames need of their key frame, x0 and z0 of each layer, by the names of the values; kept as it is.

Layers that read the same value share it, and so do a layer and one that reads its z0.
"""


class ResQNetwork(nn.Module):
    """A video graph with quantizers; weights are shared between key frames and residuals.

    Attributes:
        graph: the float network; its weights are those the network started from.
        key: bits of key frames.
        residual: bits of residuals.
        tiles: Dynamic-ResQ: bits are chosen tile by tile; None for the same bits everywhere.
    """

    def __init__(
        self, graph: VideoGraph, *, key: Bits = EIGHT, residual: Bits = FOUR, tiles: TilePolicy | None = None
    ) -> None:
        """A network whose weights are quantized; those with quantized activations want `calibrate` first.

        Raises:
            UsageError: `tiles` without the bits it builds on.
        """
        super().__init__()
        if tiles is not None and (residual.activations != 8 or key.activations is None):
            raise UsageError(
                f"tiles choose among 0, 4 and 8 bits, in steps of the key frame's activations; bits {key} and "
                f"{residual} do not fit that: give residual activations 8 bits and key activations 2 to 8"
            )
        self.graph, self.key, self.residual, self.tiles = graph, key, residual, tiles
        steps = [step for step in graph.steps if isinstance(step, Conv | Dense)]
        # A ModuleDict's names may hold no dots.
        self._layers = nn.ModuleList(ResidualLayer(step, key, residual) for step in steps)
        self._places = {step.name: place for place, step in enumerate(steps)}

    def layers(self) -> Iterator[tuple[str, ResidualLayer]]:
        """The linear layers by name, in order."""
        for name in self._places:
            yield name, self.layer(name)

    def layer(self, name: str) -> ResidualLayer:
        """The linear layer of that name."""
        found = self._layers[self._places[name]]
        assert isinstance(found, ResidualLayer)
        return found

    def key_frame(self, frame: Tensor) -> tuple[Tensor, KeyFrame]:
        """Result and state of a key frame, float32 (batch, channels, height, width)."""
        state: KeyFrame = {}

        def linear(step: Conv | Dense, x: Tensor) -> Tensor:
            z0 = self.layer(step.name).key(x)
            state.update({step.x: x, step.name: z0})
            return z0

        return walk(self.graph, frame, linear), state

    def residual_frame(self, frame: Tensor, state: KeyFrame, tile_bits: dict[str, Tensor] | None = None) -> Tensor:
        """Result of a frame after the key frame.

        Args:
            frame: float32 (batch, channels, height, width).
            state: of the key frame, of the same batch.
            tile_bits: of Dynamic-ResQ; gets the tiles' bits, uint8 (batch, rows, columns), by layer.
        """

        def linear(step: Conv | Dense, x: Tensor) -> Tensor:
            layer, x0, z0 = self.layer(step.name), state[step.x], state[step.name]
            if self.tiles is None:
                return layer.residual(x, x0, z0)
            z, bits = layer.tiled_residual(x, x0, z0, self.tiles)
            if tile_bits is not None:
                tile_bits[step.name] = bits
            return z

        return walk(self.graph, frame, linear)

    def forward(self, frames: Tensor, key_interval: int) -> Tensor:
        """Results of all frames of clips.

        Args:
            frames: float32 (clip, time, channels, height, width); the first frame is a key frame.
            key_interval: frames from one key frame to the next, T; 1 is frame by frame.

        Returns:
            float32 (clip, time, ...).

        Raises:
            UsageError: `key_interval` is not positive.
        """
        results = []
        state: KeyFrame = {}
        for time, frame in enumerate(frames.unbind(1)):
            if is_key(time, key_interval):
                result, state = self.key_frame(frame)
            else:
                result = self.residual_frame(frame, state)
            results.append(result)
        return torch.stack(results, 1)


def is_key(time: int, key_interval: int) -> bool:
    """Whether the frame at `time`, counted from 0, is a key frame.

    Raises:
        UsageError: `key_interval` is not positive.
    """
    if key_interval < 1:
        raise UsageError(f"a key frame every {key_interval} frames; the interval is 1 (frame by frame) or more")
    return time % key_interval == 0
