"""Opens the data a user names; which reader serves which name is decided here."""

from __future__ import annotations

import importlib
from typing import cast

from edgeml.core.errors import UsageError
from edgeml.models.datasets.dataset import Dataset
from edgeml.models.datasets.spec import DatasetSpec, Split

# kind -> module with `read(spec, split) -> Dataset`; imported on use, since readers pull in what only they need.
_READERS = {
    "fashion-mnist": "edgeml.models.datasets.fashion_mnist",
    "digits": "edgeml.models.datasets.digits",
    "folder": "edgeml.models.datasets.folder",
    "npz": "edgeml.models.datasets.npz",
}


def open_dataset(spec: str, *, default_split: Split = "test") -> Dataset:
    """The data set that `spec` names.

    Args:
        spec: NAME[:train|:test] with NAME one of fashion-mnist, digits, folder:DIR, npz:FILE.
        default_split: the split taken where `spec` names none: "test" to measure on, "train" to learn from.

    Raises:
        UsageError: the spec or the file it names is not of the form asked for.
        MissingError: the data is not on this machine and could not be fetched.
        CheckFailedError: a file of a known data set has other content than published.
        UntrustedFileError: a file breaks a size limit.
    """
    parsed = DatasetSpec.parse(spec)
    reader = importlib.import_module(_READERS[parsed.kind])
    return cast("Dataset", reader.read(parsed.whole, parsed.split or default_split))


def calibration_split(spec: str) -> Dataset:
    """The part of the data that `spec` names from which quantization ranges may be taken: the training split.

    Raises:
        UsageError: the spec asks for the test split, which accuracy is measured on.
    """
    parsed = DatasetSpec.parse(spec)
    if parsed.split == "test":
        raise UsageError(
            f"calibration on {spec!r} would tune the model on its test split; use {str(parsed.whole)!r} or ':train'"
        )
    return open_dataset(spec, default_split="train")
