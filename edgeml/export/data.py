"""Opens the data sets that an export is calibrated and judged on, as inputs of the model at hand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgeml.core.artifact import load_manifest
from edgeml.core.errors import UsageError
from edgeml.core.preprocessing import Preprocessing
from edgeml.core.samples import Samples
from edgeml.export.onnx_source import read_onnx
from edgeml.export.run_onnx import input_spec

if TYPE_CHECKING:
    from edgeml.models.datasets.dataset import Dataset

CALIBRATION_SAMPLES = 256
_IMAGE_AXES = 4


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
    from edgeml.models.datasets.transforms import to_samples

    preprocessing = source if isinstance(source, Preprocessing) else _of_file(source, dataset)
    return to_samples(dataset, preprocessing, limit)


def _of_file(path: Path, dataset: Dataset) -> Preprocessing:
    """The manifest's transform, else the data set's own at the size of the file's input."""
    from edgeml.models.datasets.transforms import default_preprocessing

    known = load_manifest(path)
    if known is not None and known.preprocessing is not None:
        return known.preprocessing
    _, shape = input_spec(read_onnx(path))
    if len(shape) != _IMAGE_AXES or None in shape[1:] or shape[2] != shape[3]:
        raise UsageError(f"the input of {path} has the shape {shape}; data can be fed to square images only")
    return default_preprocessing(dataset, resolution=shape[2])
