"""Opens the data sets that an export is calibrated and judged on, as inputs of the model at hand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgeml.core.preprocessing import Preprocessing
from edgeml.core.samples import Samples
from edgeml.runtime.onnx_file import open_artifact

if TYPE_CHECKING:
    from edgeml.models.datasets.dataset import Dataset

CALIBRATION_SAMPLES = 256


def calibration_samples(spec: str, source: Preprocessing | Path) -> Samples:
    """At most 256 samples of the training split, for the network with that transform or for that ONNX file.

    Raises:
        UsageError: the spec is not understood or names a test split, or the images do not fit the model.
        MissingError: the data is not on this machine.
    """
    from edgeml.models.datasets.opening import calibration_split

    return _samples(calibration_split(spec), source, CALIBRATION_SAMPLES)


def evaluation_samples(spec: str, source: Preprocessing | Path) -> Samples:
    """All samples of the split that `spec` names, the test split by default.

    Raises:
        UsageError: the spec is not understood, or the images do not fit the model.
        MissingError: the data is not on this machine.
    """
    from edgeml.models.datasets.opening import open_dataset

    return _samples(open_dataset(spec), source, None)


def _samples(dataset: Dataset, source: Preprocessing | Path, limit: int | None) -> Samples:
    from edgeml.models.datasets import preprocessing_of, to_samples

    preprocessing = source if isinstance(source, Preprocessing) else preprocessing_of(open_artifact(source), dataset)[0]
    return to_samples(dataset, preprocessing, limit)
