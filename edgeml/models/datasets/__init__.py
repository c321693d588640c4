"""Labelled images to train, calibrate and measure on; numpy only, except where images must be decoded or resized."""

from edgeml.models.datasets.dataset import Dataset, LazyImages
from edgeml.models.datasets.model_input import preprocessing_of
from edgeml.models.datasets.opening import calibration_split, open_dataset
from edgeml.models.datasets.spec import DatasetSpec, Split
from edgeml.models.datasets.transforms import default_preprocessing, to_samples

__all__ = [
    "Dataset",
    "DatasetSpec",
    "LazyImages",
    "Split",
    "calibration_split",
    "default_preprocessing",
    "open_dataset",
    "preprocessing_of",
    "to_samples",
]
