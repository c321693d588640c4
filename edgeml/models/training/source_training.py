"""Trains a network by name on data by name: finds out what the one must know about the other, then trains."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from edgeml.core.errors import UsageError, needs_extra
from edgeml.core.preprocessing import Preprocessing
from edgeml.models.datasets import Dataset, DatasetSpec, default_preprocessing, open_dataset
from edgeml.models.network import Network
from edgeml.models.source import load_source
from edgeml.models.training.recipe import Recipe, get_recipe
from edgeml.models.training.run import TrainResult, train

# The smallest size the small-image form is made for; smaller images are enlarged.
_SMALLEST_RESOLUTION = 28


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """What a user may choose; None takes the recipe's value.

    Attributes:
        recipe: name of the recipe.
        epochs: passes over the training split.
        batch_size: images per step.
        learning_rate: peak learning rate at this batch size.
        tree_weight: of the loss that makes the filters of binary layers alike.
        seed: of the fresh weights and everything drawn in training.
        device: "auto", "cpu" or "cuda".
        resolution: input height and width in pixels.
        init_weights: weights to start from instead of fresh ones.
        threads: of torch; None leaves torch's own choice.
        resume: go on from the checkpoint in the output directory, where there is one.
    """

    recipe: str
    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    tree_weight: float | None = None
    seed: int = 0
    device: str = "auto"
    resolution: int | None = None
    init_weights: Path | None = None
    threads: int | None = None
    resume: bool = False


def train_source(
    source: str, data: str, output: Path, options: TrainOptions, *, show_progress: bool = True
) -> TrainResult:
    """Build the network `source` for the classes, channels and size of `data`, and train it; see `train`.

    Args:
        source: a registry name, timm:NAME, file.py:factory or module:factory.
        data: NAME or NAME:train; the test split is reported on.
        output: directory of the run.
        options: what the user chose.
        show_progress: draw a bar on stderr where that is a terminal.
    """
    with needs_extra("train"):
        import torch
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    if DatasetSpec.parse(data).split == "test":
        raise UsageError(f"training on {data!r} would spoil the test split; leave :test out")
    whole = DatasetSpec.parse(data).whole
    training, test = open_dataset(f"{whole}:train"), open_dataset(f"{whole}:test")
    recipe = _recipe(training, options)
    torch.manual_seed(options.seed)
    network = load_source(
        source,
        classes=len(training.classes),
        in_channels=training.channels,
        resolution=options.resolution or _resolution(source, training),
        weights=options.init_weights,
    )
    return train(
        network.module,
        network=network.name,
        preprocessing=_preprocessing(network, training),
        training=training,
        test=test,
        recipe=recipe,
        output=output,
        seed=options.seed,
        device=options.device,
        resume=options.resume,
        show_progress=show_progress,
    )


def _recipe(dataset: Dataset, options: TrainOptions) -> Recipe:
    recipe = get_recipe(
        options.recipe,
        epochs=options.epochs,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        tree_weight=options.tree_weight,
        # Mirrored clothes and photos are still themselves; mirrored digits are not, nor, to be safe, other grey images.
        flip=None if dataset.kind == "fashion-mnist" or dataset.channels == 3 else False,
    )
    if options.init_weights is None:
        return recipe
    # Weights that were trained before keep their classifier, and binary ones their signs.
    return replace(recipe, zero_classifier=False, real_weight_epochs=0)


def _resolution(source: str, dataset: Dataset) -> int | None:
    """The images' size where they have one and the name of the network does not say another."""
    if re.search(r"-r\d+-w", source) or dataset.image_size is None:
        return None
    return max(_SMALLEST_RESOLUTION, *dataset.image_size)


def _preprocessing(network: Network, dataset: Dataset) -> Preprocessing:
    """The network's size and filter with the data's own statistics; images of one size are used whole."""
    own = network.preprocessing
    if own.channels != dataset.channels:
        return own
    data = default_preprocessing(dataset, resolution=own.height)
    crop_fraction = own.crop_fraction if dataset.image_size is None else data.crop_fraction
    return replace(own, mean=data.mean, std=data.std, crop_fraction=crop_fraction)
