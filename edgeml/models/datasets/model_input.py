"""How the images of a data set become the input of a model file, also of one that does not say it itself."""

from __future__ import annotations

from dataclasses import replace

from edgeml.core.artifact import Artifact
from edgeml.core.errors import UsageError
from edgeml.core.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from edgeml.models.datasets.dataset import Dataset
from edgeml.models.datasets.transforms import default_preprocessing


def preprocessing_of(artifact: Artifact, dataset: Dataset) -> tuple[Preprocessing, str | None]:
    """The artifact's preprocessing, else the data set's own at the size of the model's input, with a remark.

    Raises:
        UsageError: the model's input is no image of a fixed size.
    """
    if artifact.preprocessing is not None:
        return artifact.preprocessing, None
    shape = artifact.inputs[0].shape if len(artifact.inputs) == 1 else ()
    if len(shape) != 4 or shape[1] not in {1, 3} or not all(isinstance(axis, int) for axis in shape[1:]):
        raise UsageError(
            f"{artifact.path} has no manifest and does not take one image (batch, 1 or 3 channels, height, width) of "
            "fixed size: export it with edgeml, or leave the data out"
        )
    _, channels, height, width = (int(axis) if isinstance(axis, int) else 0 for axis in shape)
    guess = replace(default_preprocessing(dataset, resolution=height), height=height, width=width)
    if guess.channels != channels:
        mean, std = ((0.5,), (0.5,)) if channels == 1 else (IMAGENET_MEAN, IMAGENET_STD)
        guess = replace(guess, mean=mean, std=std)
    return guess, (
        f"{artifact.path} does not say how images become its input; assumed {channels}x{height}x{width} "
        f"with mean {guess.mean} and standard deviation {guess.std}: its accuracy may be better than measured"
    )
