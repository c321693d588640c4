"""Tiles: squares of pixels from the top left, cut off at the right and at the bottom, that change as one."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def tile_maxima(values: npt.NDArray[np.int64], tile: int) -> npt.NDArray[np.int64]:
    """The greatest value of each tile, at each of its pixels: int64 (N, H, W) for int64 (N, H, W).

    Args:
        values: none below 0.
        tile: height and width of a tile in pixels.
    """
    return _spread(_tiled(values, tile).max(axis=(2, 4)), tile, values.shape)


def tile_sums(values: npt.NDArray[np.int64], tile: int) -> npt.NDArray[np.int64]:
    """The sum of each tile, at each of its pixels: int64 (N, H, W) for int64 (N, H, W)."""
    return _spread(_tiled(values, tile).sum(axis=(2, 4)), tile, values.shape)


def _tiled(values: npt.NDArray[np.int64], tile: int) -> npt.NDArray[np.int64]:
    """(N, rows of tiles, tile, columns of tiles, tile), zeros beyond the image."""
    if tile < 1:
        raise ValueError(f"tiles of {tile} pixels; they have 1 or more")
    batch, height, width = values.shape
    padded = np.pad(values, ((0, 0), (0, -height % tile), (0, -width % tile)))
    return padded.reshape(batch, -(-height // tile), tile, -(-width // tile), tile)


def _spread(per_tile: npt.NDArray[np.int64], tile: int, shape: tuple[int, ...]) -> npt.NDArray[np.int64]:
    """The value of each tile at each of its pixels, cut to `shape` (N, H, W)."""
    return per_tile.repeat(tile, axis=1).repeat(tile, axis=2)[:, : shape[1], : shape[2]]
