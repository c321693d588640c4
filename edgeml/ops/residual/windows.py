"""The windows over an image that a convolution or a pooling looks through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Windows:
    """Their geometry, as of ONNX's Conv.

    Attributes:
        kernel_shape: height and width of a window, in taps.
        strides: of rows and columns.
        pads: top, left, bottom, right.
        dilations: of rows and columns.
    """

    kernel_shape: Sequence[int]
    strides: Sequence[int]
    pads: Sequence[int]
    dilations: Sequence[int] = (1, 1)

    def output_size(self, size: Sequence[int]) -> tuple[int, int]:
        """Rows and columns of windows over an image of `size`, height and width.

        Raises:
            ValueError: not one window fits.
        """
        height, width = (
            (
                size[axis]
                + self.pads[axis]
                + self.pads[axis + 2]
                - self.dilations[axis] * (self.kernel_shape[axis] - 1)
                - 1
            )
            // self.strides[axis]
            + 1
            for axis in (0, 1)
        )
        if height < 1 or width < 1:
            raise ValueError(f"a kernel of {tuple(self.kernel_shape)} does not fit an image of {tuple(size)}")
        return height, width

    def taps(self, image: npt.NDArray[np.integer], *, outside: int = 0) -> npt.NDArray[np.int64]:
        """What each window sees, int64 (kernel height * kernel width, N, OH, OW, …), taps row by row.

        Args:
            image: integers (N, H, W, …).
            outside: what a tap outside the image sees.

        Raises:
            ValueError: not one window fits.
        """
        height, width = self.output_size(image.shape[1:3])
        top, left, bottom, right = self.pads
        around = [(0, 0), (top, bottom), (left, right), *[(0, 0)] * (image.ndim - 3)]
        padded = np.pad(image.astype(np.int64), around, constant_values=outside)
        found = []
        for tap in np.ndindex(*self.kernel_shape):
            row, column = (tap[axis] * self.dilations[axis] for axis in (0, 1))
            seen = padded[:, row : row + (height - 1) * self.strides[0] + 1 : self.strides[0]]
            found.append(seen[:, :, column : column + (width - 1) * self.strides[1] + 1 : self.strides[1]])
        return np.stack(found)

    def changed(self, changed: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
        """Which windows see a pixel that is not 0 in a pixel map (N, H, W), bool (N, OH, OW)."""
        seen: npt.NDArray[np.bool_] = (self.taps(changed) != 0).any(axis=0)
        return seen
