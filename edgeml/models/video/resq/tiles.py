"""Quantizes a residual tile by tile, each in the fewest bits that are good enough; see `TilePolicy`."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from edgeml.models.video.resq.bits import TILE_BITS, TilePolicy
from edgeml.models.video.resq.ranges import signed_codes


def quantize_tiles(residual: Tensor, step: Tensor, policy: TilePolicy) -> tuple[Tensor, Tensor]:
    """The residual in 0, 4 or 8 bits a tile.

    Args:
        residual: float32 (batch, channels, height, width), or (batch, features), which is one tile.
        step: float32 (), of all tiles.
        policy: which tile takes which width.

    Returns:
        The rounded residual, of its shape; the tiles' bits, uint8 (batch, tile rows, tile columns), tiles laid from
        the top left and cut off at the right and bottom.
    """
    pixels = residual.reshape(*residual.shape[:2], 1, 1) if residual.ndim == 2 else residual
    steps = pixels / step
    bits = tile_bits(tile_maxima(steps, policy.tile), policy.tolerance)
    rows, columns = pixels.shape[2:]
    width_map = bits.repeat_interleave(policy.tile, 1).repeat_interleave(policy.tile, 2)[:, None, :rows, :columns]
    rounded = torch.zeros_like(steps)
    for width in TILE_BITS[1:]:
        rounded = torch.where(width_map == width, steps.round().clamp(*signed_codes(width)), rounded)
    return (rounded * step).reshape(residual.shape), bits


def tile_maxima(values: Tensor, tile: int) -> Tensor:
    """The largest magnitude in each tile over all channels, (batch, rows, columns), of (batch, channels, h, w)."""
    magnitude = values.abs().amax(1)
    height, width = magnitude.shape[1:]
    padded = F.pad(magnitude, (0, -width % tile, 0, -height % tile))
    rows, columns = (side // tile for side in padded.shape[1:])
    return padded.reshape(-1, rows, tile, columns, tile).amax((2, 4))


def tile_bits(maxima: Tensor, tolerance: float) -> Tensor:
    """Bits of tiles whose largest magnitude is `maxima` steps, uint8 of its shape; the most where none is enough."""
    bits = torch.full_like(maxima, TILE_BITS[-1], dtype=torch.uint8)
    for width in reversed(TILE_BITS[:-1]):
        reach = (signed_codes(width)[1] if width else 0) + tolerance
        bits = torch.where(maxima <= reach, torch.tensor(width, dtype=torch.uint8, device=bits.device), bits)
    return bits


def mean_bits(bits: Tensor, size: tuple[int, int], tile: int) -> float:
    """The mean of tiles' bits with each tile counted by its pixels.

    Args:
        bits: uint8 (batch, rows, columns).
        size: height and width of what the tiles cover, in pixels.
        tile: height and width of a whole tile.
    """
    rows, columns = (
        torch.clamp(side - tile * torch.arange(-(-side // tile), device=bits.device), max=tile).double()
        for side in size
    )
    weighted = torch.einsum("nij,i,j->n", bits.double(), rows, columns)
    return float(weighted.mean()) / (size[0] * size[1])
