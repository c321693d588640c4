"""Sets the ranges of a network's activations from calibration clips, layer by layer.

A layer's ranges are taken from what reaches it through the layers before it as they are already quantized; so those
of residuals see the residuals that will occur.
"""

from __future__ import annotations

import torch
from torch import Tensor

from edgeml.core.errors import UsageError
from edgeml.models.video.graph import Conv, Dense
from edgeml.models.video.resq.network import ResQNetwork, is_key
from edgeml.models.video.resq.walk import walk


@torch.no_grad()
def calibrate(network: ResQNetwork, clips: Tensor, key_interval: int) -> None:
    """Fit every activation quantizer of `network` in place; the ranges of residuals only where there are any.

    Args:
        network: bits chosen, weights final.
        clips: float32 (clip, time, channels, height, width); all frames are computed as one batch.
        key_interval: frames from one key frame to the next; 1 leaves the residuals' ranges unset.

    Raises:
        UsageError: the clips are of another shape, or too short for a residual at this interval.
    """
    if clips.ndim != 5 or clips.shape[2:] != network.graph.input_shape or not clips.numel():
        raise UsageError(
            f"calibration clips of shape {tuple(clips.shape)}; the network wants (clip, time, "
            f"{', '.join(map(str, network.graph.input_shape))}) with a clip or more"
        )
    times = clips.shape[1]
    keys = [time for time in range(times) if is_key(time, key_interval)]
    others = [time for time in range(times) if not is_key(time, key_interval)]
    if key_interval > 1 and not others:
        raise UsageError("calibration clips of 1 frame show no residual; give clips of 2 frames or more")
    ordered = clips[:, keys + others].transpose(0, 1).flatten(0, 1)
    count = len(clips) * len(keys)
    # Frames lie time after time: frame (time, clip) at place(time) * clips + clip, key frames before the others.
    clip = torch.arange(len(clips), device=clips.device)
    key_of = torch.cat([time // key_interval * len(clips) + clip for time in others]) if others else clip[:0]

    def linear(step: Conv | Dense, x: Tensor) -> Tensor:
        layer = network.layer(step.name)
        x0, later = x[:count], x[count:]
        if layer.key_activation is not None:
            layer.key_activation.fit(x0)
        z0 = layer.key(x0)
        if not len(later):
            return z0
        if layer.residual_activation is not None:
            layer.residual_activation.fit(later - x0[key_of])
        if network.tiles is None:
            z = layer.residual(later, x0[key_of], z0[key_of])
        else:
            z, _ = layer.tiled_residual(later, x0[key_of], z0[key_of], network.tiles)
        return torch.cat([z0, z])

    walk(network.graph, ordered, linear)
