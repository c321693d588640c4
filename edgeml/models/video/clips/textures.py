"""Random smooth textures, and reading them between their pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Texture = npt.NDArray[np.float32]


def smooth_noise(generator: np.random.Generator, height: int, width: int, cells: Sequence[float]) -> Texture:
    """Noise that varies over as many scales as `cells` has: float32 (height, width, 3), mean 0, deviation about 1.

    Args:
        generator: where the numbers come from.
        height: in pixels.
        width: in pixels.
        cells: size in pixels of the patches of each scale; the larger ones count more.
    """
    total = np.zeros((height, width, 3), np.float32)
    weights = np.sqrt(np.asarray(cells, np.float64))
    for cell, weight in zip(cells, weights / np.linalg.norm(weights), strict=True):
        rows, columns = int(height / cell) + 3, int(width / cell) + 3
        # What the channels share makes light and dark, what they do not share makes colour.
        grey = generator.standard_normal((rows, columns, 1))
        colour = generator.standard_normal((rows, columns, 3))
        coarse = (0.85 * grey + 0.5 * colour).astype(np.float32)
        y = (np.arange(height) / cell)[:, None]
        x = (np.arange(width) / cell)[None, :]
        # Bilinear mixing of independent values lowers their deviation to 2/3 on average.
        total += np.float32(1.5 * weight) * sample(coarse, y, x)
    return total


def sample(texture: Texture, y: npt.NDArray[np.floating], x: npt.NDArray[np.floating]) -> Texture:
    """The texture at real places, bilinear, edges repeated: float32 (shape of y and x together, channels).

    Args:
        texture: float32 (height, width, channels).
        y: rows, any shape that broadcasts with `x`.
        x: columns.
    """
    height, width = texture.shape[:2]
    y, x = np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)
    top, left = np.minimum(y.astype(np.int64), height - 2), np.minimum(x.astype(np.int64), width - 2)
    down, right = (y - top).astype(np.float32)[..., None], (x - left).astype(np.float32)[..., None]
    upper = texture[top, left] * (1 - right) + texture[top, left + 1] * right
    lower = texture[top + 1, left] * (1 - right) + texture[top + 1, left + 1] * right
    mixed: Texture = upper * (1 - down) + lower * down
    return mixed
