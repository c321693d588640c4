"""Serves training batches: from memory where images have one size, else decoded by threads while training runs."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from edgeml.core.preprocessing import Preprocessing
from edgeml.models.datasets.dataset import Dataset, LazyImages
from edgeml.models.datasets.transforms import convert_channels, resize_and_crop, to_pixels

if TYPE_CHECKING:
    import torch

_DECODERS = 4
_BATCHES_AHEAD = 3


class Batches:
    """The images of a data set at the network's input size, in the order asked for.

    Images of one size are kept in memory as uint8; files are decoded anew in every pass, some batches ahead.
    """

    def __init__(self, dataset: Dataset, preprocessing: Preprocessing) -> None:
        import torch

        self._dataset = dataset
        self._preprocessing = preprocessing
        self._labels = torch.from_numpy(dataset.labels)
        self._pixels: torch.Tensor | None = None
        if not isinstance(dataset.images, LazyImages):
            pixels = np.moveaxis(to_pixels(dataset, preprocessing), -1, 1)
            self._pixels = torch.from_numpy(np.ascontiguousarray(pixels))

    def __len__(self) -> int:
        """Number of samples."""
        return len(self._dataset)

    def serve(self, order: torch.Tensor, batch_size: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Batches of images uint8 (batch, channels, height, width) and labels int64 (batch,).

        Args:
            order: int64 indices of the samples.
            batch_size: samples a batch; the last may be smaller.
        """
        import torch

        chunks = torch.split(order, batch_size)
        if self._pixels is not None:
            for chunk in chunks:
                yield self._pixels[chunk], self._labels[chunk]
            return
        with ThreadPoolExecutor(_DECODERS, thread_name_prefix="decode") as pool:
            ahead: deque[list[Future[npt.NDArray[np.uint8]]]] = deque()
            waiting = iter(chunks)
            try:
                for chunk in chunks:
                    while len(ahead) < _BATCHES_AHEAD and (following := next(waiting, None)) is not None:
                        ahead.append([pool.submit(self._decode, index) for index in following.tolist()])
                    yield _stack([future.result() for future in ahead.popleft()]), self._labels[chunk]
            finally:
                pool.shutdown(cancel_futures=True)

    def _decode(self, index: int) -> npt.NDArray[np.uint8]:
        image = resize_and_crop(self._dataset.images[index], self._preprocessing)
        return convert_channels(image, self._preprocessing.channels)


def _stack(images: list[npt.NDArray[np.uint8]]) -> torch.Tensor:
    import torch

    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(np.stack(images), -1, 1)))
