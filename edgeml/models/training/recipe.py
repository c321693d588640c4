"""Recipes: every choice that training makes, as one named value."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, replace
from typing import Literal

from edgeml.core.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How training images are varied.

    Attributes:
        crop: "random-resized" takes 8% to 100% of the area and resizes it (Szegedy et al., 2015); "shift" moves the
            image by whole pixels and fills with the edge's colour; "none" leaves it.
        shift: largest movement, as a share of the side.
        flip: mirror half of the images left to right.
        jitter: largest relative change of brightness, contrast and saturation.
    """

    crop: Literal["random-resized", "shift", "none"]
    shift: float = 0.0
    flip: bool
    jitter: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a network is trained.

    Attributes:
        name: the recipe's name.
        optimizer: "rmsprop" or "adamw".
        schedule: "exponential" (warm-up, then a step down every few epochs) or "one-cycle" (Smith and Topin, 2018).
        epochs: passes over the training split.
        batch_size: images per step.
        learning_rate: peak learning rate for `reference_batch` images per step; it is scaled in proportion.
        reference_batch: batch size that `learning_rate` was chosen for.
        warmup_epochs: epochs until the peak.
        decay_rate: factor of each step down ("exponential").
        decay_epochs: epochs between steps down ("exponential").
        weight_decay: of matrices and kernels; biases and normalization parameters have none.
        epsilon: the optimizer's.
        ema_decay: decay of the weights' exponential moving average, which is what training returns.
        ema_warmup: raise the decay from 0.1 to `ema_decay` in the first steps, so that short runs are not held back.
        dropout: rate of every dropout layer of the network.
        label_smoothing: share of the target spread over all classes.
        zero_classifier: start a new network's last linear layer at zero, so that the first steps are not spent on
            unlearning random logits.
        real_weight_epochs: first stage of training a binary network: epochs in which its weights stay real while its
            inputs are signs already (Martinez et al., ICLR 2020). No effect on other networks.
        tree_weight: of the loss that makes the filters of a binary layer alike (`edgeml.models.binary.mst_loss`), so
            that trees of differences store them in fewer bits. No effect on other networks.
        augmentation: how training images are varied.
    """

    name: str
    optimizer: Literal["rmsprop", "adamw"]
    schedule: Literal["exponential", "one-cycle"]
    epochs: int
    batch_size: int
    learning_rate: float
    reference_batch: int
    warmup_epochs: float
    decay_rate: float = 1.0
    decay_epochs: float = 1.0
    weight_decay: float
    epsilon: float
    ema_decay: float
    ema_warmup: bool
    dropout: float
    label_smoothing: float
    zero_classifier: bool
    real_weight_epochs: int = 0
    tree_weight: float = 0.0
    augmentation: Augmentation

    @property
    def peak_learning_rate(self) -> float:
        """The learning rate for this batch size."""
        return self.learning_rate * self.batch_size / self.reference_batch

    def to_json(self) -> str:
        """The recipe as canonical JSON text."""
        return json.dumps(asdict(self), sort_keys=True)


# Han et al., "Model Rubik's Cube" (NeurIPS 2020). The paper's RMSProp is TensorFlow's; torch's adds epsilon after the
# root, so runs are close to the published ones, not equal. The batch is what fits one device; the rate follows it.
_TINYNET = Recipe(
    name="tinynet",
    optimizer="rmsprop",
    schedule="exponential",
    epochs=450,
    batch_size=128,
    learning_rate=0.048,
    reference_batch=1024,
    warmup_epochs=3,
    decay_rate=0.97,
    decay_epochs=2.4,
    weight_decay=1e-5,
    epsilon=1e-3,
    ema_decay=0.9999,
    ema_warmup=False,
    dropout=0.2,
    label_smoothing=0.1,
    zero_classifier=False,
    augmentation=Augmentation(crop="random-resized", flip=True, jitter=0.4),
)

# Ours: chosen on Fashion-MNIST for the best accuracy of a small network within a few minutes on two cores.
_QUICK = Recipe(
    name="quick",
    optimizer="adamw",
    schedule="one-cycle",
    epochs=6,
    batch_size=128,
    learning_rate=8e-3,
    reference_batch=128,
    warmup_epochs=1.5,
    weight_decay=0.05,
    epsilon=1e-8,
    ema_decay=0.995,
    ema_warmup=True,
    dropout=0.0,
    label_smoothing=0.1,
    zero_classifier=True,
    augmentation=Augmentation(crop="none", flip=False),
)

# Ours: for small binary networks within ten minutes on two cores.
_BINARY = Recipe(
    name="binary",
    optimizer="adamw",
    schedule="one-cycle",
    epochs=12,
    batch_size=128,
    learning_rate=8e-3,
    reference_batch=128,
    warmup_epochs=2,
    weight_decay=0.01,
    epsilon=1e-8,
    ema_decay=0.995,
    ema_warmup=True,
    dropout=0.0,
    label_smoothing=0.1,
    zero_classifier=True,
    real_weight_epochs=2,
    augmentation=Augmentation(crop="none", flip=False),
)

RECIPES = {recipe.name: recipe for recipe in (_TINYNET, _QUICK, _BINARY)}
DEFAULT_RECIPE = _TINYNET.name


def get_recipe(
    name: str = DEFAULT_RECIPE,
    *,
    epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    tree_weight: float | None = None,
    flip: bool | None = None,
) -> Recipe:
    """The recipe called `name`, with what is given replaced.

    Args:
        name: a key of `RECIPES`.
        epochs: passes over the data; warm-up keeps its share of the run where the run becomes shorter, the first stage
            of a binary network always.
        batch_size: images per step; the learning rate follows in proportion.
        learning_rate: peak learning rate at this very batch size.
        tree_weight: of the loss that makes the filters of binary layers alike.
        flip: False keeps left and right apart (digits, letters).

    Raises:
        UsageError: there is no such recipe, or a value is out of range.
    """
    if name not in RECIPES:
        raise UsageError(f"unknown recipe {name!r}; allowed: {', '.join(RECIPES)}")
    recipe = RECIPES[name]
    if epochs is not None:
        _check("epochs", epochs, epochs >= 1, "1 or more")
        warmup = recipe.warmup_epochs * min(1.0, epochs / recipe.epochs)
        real = recipe.real_weight_epochs * epochs // recipe.epochs
        recipe = replace(recipe, epochs=epochs, warmup_epochs=warmup, real_weight_epochs=real)
    if batch_size is not None:
        _check("batch size", batch_size, batch_size >= 2, "2 or more, since batch statistics need two samples")
        recipe = replace(recipe, batch_size=batch_size)
    if learning_rate is not None:
        _check("learning rate", learning_rate, 0 < learning_rate < 100, "a number above 0 and below 100")
        recipe = replace(recipe, learning_rate=learning_rate, reference_batch=recipe.batch_size)
    if tree_weight is not None:
        _check("tree weight", tree_weight, 0 <= tree_weight < math.inf, "a number of 0 or more")
        recipe = replace(recipe, tree_weight=tree_weight)
    if flip is False:
        recipe = replace(recipe, augmentation=replace(recipe.augmentation, flip=False))
    return recipe


def _check(what: str, value: float, right: bool, allowed: str) -> None:
    if not right:
        raise UsageError(f"{what} {value} is not possible; allowed: {allowed}")
