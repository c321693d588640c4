"""A convolution or dense layer that runs on a key frame in full and on later frames on what has changed since."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgeml.models.video.graph import Conv, Dense
from edgeml.models.video.resq.bits import Bits, TilePolicy
from edgeml.models.video.resq.quantizer import Kind, Quantizer
from edgeml.models.video.resq.tiles import quantize_tiles


class ResidualLayer(nn.Module):
    """key: z0 = Qk(W) * Qk(x0) + b; residual: z = z0 + Qr(W) * Qr(x - x0).

    One set of weights serves both, each with quantizers of its own; None instead of a quantizer leaves float32.
    """

    def __init__(self, step: Conv | Dense, key: Bits, residual: Bits) -> None:
        super().__init__()
        self.step = step
        self.weight = nn.Parameter(torch.from_numpy(step.weight.copy()))
        self.bias = nn.Parameter(torch.from_numpy(step.bias.copy()))
        self.key_weight = _quantizer("weight", key.weights)
        self.key_activation = _quantizer("activation", key.activations)
        self.residual_weight = _quantizer("weight", residual.weights)
        self.residual_activation = _quantizer("residual", residual.activations)
        for quantizer in (self.key_weight, self.residual_weight):
            if quantizer is not None:
                quantizer.fit(self.weight)

    def key(self, x: Tensor) -> Tensor:
        """z0 of the layer's input x0, float32."""
        return self._linear(_quantized(self.key_activation, x), _quantized(self.key_weight, self.weight), self.bias)

    def residual(self, x: Tensor, x0: Tensor, z0: Tensor) -> Tensor:
        """z, float32, of the input `x`, given the key frame's input and result."""
        return z0 + self._changed(_quantized(self.residual_activation, x - x0))

    def tiled_residual(self, x: Tensor, x0: Tensor, z0: Tensor, policy: TilePolicy) -> tuple[Tensor, Tensor]:
        """`residual` in 0, 4 or 8 bits a tile, and the tiles' bits, uint8 (batch, rows, columns)."""
        assert self.key_activation is not None, "checked by the network"
        rounded, bits = quantize_tiles(x - x0, self.key_activation.scale * policy.step, policy)
        return z0 + self._changed(rounded), bits

    def _changed(self, difference: Tensor) -> Tensor:
        return self._linear(difference, _quantized(self.residual_weight, self.weight), None)

    def _linear(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        step = self.step
        if isinstance(step, Dense):
            return F.linear(x.flatten(1), weight, bias)
        top, left, bottom, right = step.pads
        padding: int | tuple[int, int] = 0
        if (top, left) == (bottom, right):
            padding = (top, left)
        else:
            x = F.pad(x, (left, right, top, bottom))
        return F.conv2d(x, weight, bias, step.strides, padding, step.dilations, step.group)


def _quantizer(kind: Kind, bits: int | None) -> Quantizer | None:
    return None if bits is None else Quantizer(kind, bits)


def _quantized(quantizer: Quantizer | None, values: Tensor) -> Tensor:
    result: Tensor = values if quantizer is None else quantizer(values)
    return result
