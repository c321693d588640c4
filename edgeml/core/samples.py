"""Labelled model inputs in memory: what calibration, parity and accuracy run on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Samples:
    """Preprocessed inputs of a classifier with their labels.

    Attributes:
        name: the data set and split, for example "fashion-mnist:test".
        inputs: float32 (sample, channels, height, width), ready to be fed to the model.
        labels: int64 (sample,), indices into the model's logits.
        classes: the class names, in label order.
    """

    name: str
    inputs: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    classes: tuple[str, ...]

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.labels)

    def head(self, count: int) -> Samples:
        """The first `count` samples."""
        return Samples(self.name, self.inputs[:count], self.labels[:count], self.classes)
