"""Trains a segmentation network on drawn scenes, in minutes on a laptop's processor."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from edgeml.core.errors import UsageError, needs_extra
from edgeml.core.preprocessing import Preprocessing
from edgeml.core.segmentation_metrics import class_iou, confusion
from edgeml.models.video.clips.moving_objects import CLASSES
from edgeml.models.video.clips.training_set import FIRST_TRAINING_SEED, TrainingFrames

if TYPE_CHECKING:
    import torch

# Scenes that are only measured on; far from those that are trained on.
_UNSEEN_SEED = 2 * FIRST_TRAINING_SEED
_UNSEEN_SCENES = 128
_WARM_UP_SHARE = 0.2
_GRADIENT_NORM = 1.0


@dataclass(frozen=True, kw_only=True)
class SegmentationRecipe:
    """How to train: AdamW on cross-entropy, one cycle of the learning rate, frames mirrored at random.

    Attributes:
        scenes: number of drawn scenes, one frame of each.
        epochs: passes over them.
        batch: frames a step.
        peak_learning_rate: reached after a fifth of the steps.
        weight_decay: spares biases and normalization.
        seed: of the order and the mirroring; the weights a module starts with are the caller's.
    """

    scenes: int = 1024
    epochs: int = 10
    batch: int = 8
    peak_learning_rate: float = 8e-3
    weight_decay: float = 1e-2
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.scenes, self.epochs, self.batch) < 1:
            raise UsageError(
                f"{self.scenes} scenes, {self.epochs} epochs and batches of {self.batch} are not allowed; 1 or more"
            )
        if not 0 < self.peak_learning_rate < math.inf or not 0 <= self.weight_decay < math.inf:
            raise UsageError(
                f"learning rate {self.peak_learning_rate} and weight decay {self.weight_decay} are not allowed; "
                "above 0, and 0 or more"
            )


@dataclass(frozen=True)
class SegmentationTraining:
    """What came of it.

    Attributes:
        mean_iou: on scenes that were not trained on.
        class_iou: the same for each class.
        losses: mean loss of each epoch.
        seconds: that training took, drawing the scenes included.
    """

    mean_iou: float
    class_iou: dict[str, float]
    losses: tuple[float, ...]
    seconds: float


def train_segmentation(
    module: torch.nn.Module,
    *,
    preprocessing: Preprocessing,
    recipe: SegmentationRecipe | None = None,
    on_epoch: Callable[[int, float], None] | None = None,
) -> SegmentationTraining:
    """Train `module` in place, in float32 on its own device, and leave it in evaluation mode.

    Args:
        module: float32 (batch, 3, height, width) to logits float32 (batch, 4, height, width).
        preprocessing: size and normalization of the inputs; the frames are drawn at that size.
        recipe: how; None takes the defaults.
        on_epoch: told the number of epochs done, and the mean loss of the last.

    Raises:
        MissingError: torch is not installed.
        UsageError: the module's output is of another shape, or the loss is no number.
    """
    with needs_extra("train"):
        import torch
    recipe = recipe or SegmentationRecipe()
    started = time.perf_counter()
    frames, masks = TrainingFrames(
        scenes=recipe.scenes, height=preprocessing.height, width=preprocessing.width
    ).arrays()
    device = next(module.parameters()).device
    optimizer = torch.optim.AdamW(_groups(module, recipe), lr=recipe.peak_learning_rate)
    steps = math.ceil(len(frames) / recipe.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=recipe.peak_learning_rate,
        total_steps=max(recipe.epochs * steps, 2),
        pct_start=_WARM_UP_SHARE,
    )
    generator = np.random.default_rng([recipe.seed, 3])
    losses: list[float] = []
    module.train()
    for epoch in range(recipe.epochs):
        total = 0.0
        for chosen in np.array_split(generator.permutation(len(frames)), steps):
            flips = tuple(axis for axis in (1, 2) if generator.random() < 0.5)
            inputs = _tensor(np.flip(frames[chosen], flips), preprocessing, device)
            truth = torch.from_numpy(np.flip(masks[chosen], flips).astype(np.int64)).to(device)
            logits = module(inputs)
            _check_logits(logits, inputs)
            loss = torch.nn.functional.cross_entropy(logits, truth)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(module.parameters(), _GRADIENT_NORM)
            optimizer.step()
            schedule.step()
            total += float(loss.detach()) * len(chosen)
        losses.append(total / len(frames))
        if not math.isfinite(losses[-1]):
            raise UsageError(
                f"training diverged in epoch {epoch + 1} at learning rate {recipe.peak_learning_rate}; lower it"
            )
        if on_epoch is not None:
            on_epoch(epoch + 1, losses[-1])
    module.eval()
    by_class = measure_segmentation(module, preprocessing=preprocessing, batch=recipe.batch)
    values = [value for value in by_class.values() if not math.isnan(value)]
    return SegmentationTraining(sum(values) / len(values), by_class, tuple(losses), time.perf_counter() - started)


def measure_segmentation(
    module: torch.nn.Module, *, preprocessing: Preprocessing, scenes: int = _UNSEEN_SCENES, batch: int = 8
) -> dict[str, float]:
    """IoU of each class on drawn scenes that `train_segmentation` never trains on; the module is left in its mode.

    Args:
        module: float32 (batch, 3, height, width) to logits float32 (batch, 4, height, width).
        preprocessing: size and normalization of the inputs.
        scenes: number of scenes, one frame of each.
        batch: frames a forward pass.

    Raises:
        UsageError: the module's output is of another shape.
    """
    import torch

    unseen = TrainingFrames(scenes=scenes, height=preprocessing.height, width=preprocessing.width)
    frames, masks = replace(unseen, first_seed=_UNSEEN_SEED).arrays()
    device = next(module.parameters()).device
    counts = np.zeros((len(CLASSES), len(CLASSES)), np.int64)
    mode = module.training
    module.eval()
    with torch.inference_mode():
        for start in range(0, len(frames), batch):
            inputs = _tensor(frames[start : start + batch], preprocessing, device)
            logits = module(inputs)
            _check_logits(logits, inputs)
            predicted = logits.argmax(dim=1).cpu().numpy()
            counts += confusion(predicted, masks[start : start + batch], len(CLASSES))
    module.train(mode)
    return dict(zip(CLASSES, map(float, class_iou(counts)), strict=True))


def _groups(module: torch.nn.Module, recipe: SegmentationRecipe) -> list[dict[str, object]]:
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    return [
        {"params": [each for each in parameters if each.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [each for each in parameters if each.ndim <= 1], "weight_decay": 0.0},
    ]


def _tensor(
    frames: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], preprocessing: Preprocessing, device: torch.device
) -> torch.Tensor:
    """As `datasets.transforms.normalize` computes it, in channels-last memory, in which CPUs train faster."""
    import torch

    inputs = torch.from_numpy(np.ascontiguousarray(frames)).to(device).permute(0, 3, 1, 2).float()
    mean = inputs.new_tensor(preprocessing.mean)[:, None, None]
    std = inputs.new_tensor(preprocessing.std)[:, None, None]
    return inputs.div(255).sub_(mean).div_(std)


def _check_logits(logits: torch.Tensor, inputs: torch.Tensor) -> None:
    expected = (len(inputs), len(CLASSES), *inputs.shape[2:])
    if tuple(logits.shape) != expected:
        raise UsageError(
            f"the network gives {tuple(logits.shape)}; drawn scenes need logits of shape {expected} "
            f"(classes: {', '.join(CLASSES)})"
        )
