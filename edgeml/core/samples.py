"""Labelled model inputs in memory: what calibration, parity and accuracy run on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeml.core.errors import UsageError


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

    def __post_init__(self) -> None:
        if self.inputs.ndim != 4 or self.labels.shape != self.inputs.shape[:1]:
            raise UsageError(
                f"samples of {self.name}: inputs {self.inputs.shape} and labels {self.labels.shape} do not fit; "
                "needed are (sample, channels, height, width) and (sample,)"
            )

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.labels)

    def head(self, count: int) -> Samples:
        """The first `count` samples, or all where there are fewer; `count` is not negative."""
        assert count >= 0
        return Samples(self.name, self.inputs[:count], self.labels[:count], self.classes)
