"""Trains a network by a recipe: epochs, checkpoints, metrics, and the weights at the end."""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeml.core.artifact import sha256_file
from edgeml.core.errors import EdgeMLError, UsageError, needs_extra
from edgeml.core.preprocessing import Preprocessing
from edgeml.models.checkpoint import save_weights
from edgeml.models.datasets.dataset import Dataset
from edgeml.models.training.allocator import keep_freed_memory
from edgeml.models.training.batches import Batches
from edgeml.models.training.device import choose_device
from edgeml.models.training.epoch import InputForm, top1, train_epoch
from edgeml.models.training.optimization import build_average, build_optimizer, build_schedule
from edgeml.models.training.progress import Progress
from edgeml.models.training.recipe import Recipe
from edgeml.models.training.run_files import RunFiles
from edgeml.models.training.state import TrainingState, load_checkpoint, save_checkpoint
from edgeml.models.training.weights_metadata import WeightsMetadata

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """What a run left behind. `module` itself ends with the same weights, in evaluation mode.

    Attributes:
        weights: the file with the averaged weights.
        sha256: its digest.
        top1: accuracy of the averaged weights on the test split, in [0, 1].
        top1_last: accuracy of the last step's weights.
        epochs: epochs trained, those of earlier sessions included.
        seconds: time they took.
        history: metrics of each epoch.
    """

    weights: Path
    sha256: str
    top1: float
    top1_last: float
    epochs: int
    seconds: float
    history: tuple[dict[str, Any], ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self) | {"weights": str(self.weights), "history": list(self.history)}


def train(
    module: torch.nn.Module,
    *,
    network: str,
    preprocessing: Preprocessing,
    training: Dataset,
    test: Dataset,
    recipe: Recipe,
    output: Path,
    seed: int = 0,
    device: str = "auto",
    resume: bool = False,
    show_progress: bool = True,
) -> TrainResult:
    """Train `module` in place and write checkpoint.pth, metrics.jsonl, model.safetensors and train.json to `output`.

    The weights kept are always the moving average at the last epoch. The test split is measured after each epoch to
    be reported; nothing is chosen by it. The same seed on the same machine with the same number of threads gives the
    same weights, and so does a run that was interrupted and resumed.

    Args:
        module: the network, new or with weights to start from.
        network: the source it was built from.
        preprocessing: how images become its input.
        training: the training split.
        test: the split reported on.
        recipe: how to train.
        output: a directory; it is created.
        seed: of the order, the augmentation and dropout; a new module's weights are the caller's.
        device: "auto", "cpu" or "cuda".
        resume: go on from the checkpoint in `output`, where there is one.
        show_progress: draw a bar on stderr where that is a terminal.

    Raises:
        UsageError: the data does not fit, or `output` holds another run.
        EdgeMLError: training diverged, or a file could not be written.
        KeyboardInterrupt: the user stopped it; the checkpoint of the last full epoch is in place.
    """
    with needs_extra("train"):
        import torch
    _check_data(training, test, preprocessing)
    target = choose_device(device)
    if target.type == "cpu":
        keep_freed_memory()
    _prepare(module, recipe)
    module.to(target).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs
    optimizer = build_optimizer(module, recipe)
    steps = max(1, len(training) // recipe.batch_size)
    state = TrainingState(
        module=module,
        average=build_average(module, recipe),
        optimizer=optimizer,
        schedule=build_schedule(optimizer, recipe, steps),
    )
    identity = {
        "network": network,
        "classes": list(training.classes),
        "preprocessing": preprocessing.to_json(),
        "data": training.name,
        "data_sha256": training.sha256,
        "recipe": recipe.to_json(),
        "seed": seed,
    }
    files = RunFiles.open(output, resume=resume)
    if files.checkpoint.is_file():
        load_checkpoint(state, files.checkpoint, identity)
    else:
        # So that a run interrupted in its first epoch can be resumed as well.
        save_checkpoint(state, files.checkpoint, identity)

    form = InputForm(preprocessing, target)
    batches, test_batches = Batches(training, preprocessing), Batches(test, preprocessing)
    images = steps * min(recipe.batch_size, len(training))
    with Progress(recipe.epochs, images, done=state.epoch, show=show_progress) as progress:
        while state.epoch < recipe.epochs:
            began = time.perf_counter()
            loss = train_epoch(state, batches, form, recipe, seed, progress.advance)
            seconds = time.perf_counter() - began
            _check_loss(loss, state.epoch, recipe)
            metrics = {
                "epoch": state.epoch,
                "train_loss": loss,
                "top1_ema": top1(state.average.module, test_batches, form),
                "top1_last": top1(module, test_batches, form),
                "learning_rate": float(state.schedule.get_last_lr()[0]),
                "seconds": seconds,
                "images_per_second": images / seconds,
            }
            state.history.append(metrics)
            save_checkpoint(state, files.checkpoint, identity)
            files.write_metrics(state.history)
            progress.end_epoch(metrics)

    metadata = WeightsMetadata(
        network=network,
        classes=training.classes,
        preprocessing=preprocessing,
        data=training.name,
        recipe=recipe.name,
        epochs=recipe.epochs,
    )
    result = _keep_average(state, files, metadata)
    files.write_summary({**identity, "recipe": json.loads(recipe.to_json()), "device": str(target), **result.to_json()})
    return result


def _keep_average(state: TrainingState, files: RunFiles, metadata: WeightsMetadata) -> TrainResult:
    """Write the averaged weights and make them the module's own."""
    averaged = state.average.module
    save_weights(averaged, files.weights, metadata.to_header())
    state.module.load_state_dict(averaged.state_dict())
    state.module.eval()
    return TrainResult(
        weights=files.weights,
        sha256=sha256_file(files.weights),
        top1=state.history[-1]["top1_ema"],
        top1_last=state.history[-1]["top1_last"],
        epochs=state.epoch,
        seconds=sum(metrics["seconds"] for metrics in state.history),
        history=tuple(state.history),
    )


def _check_loss(loss: float, epoch: int, recipe: Recipe) -> None:
    if not math.isfinite(loss):
        raise EdgeMLError(
            f"training diverged in epoch {epoch} (loss {loss}); use a learning rate below "
            f"{recipe.peak_learning_rate:g} or batches larger than {recipe.batch_size}"
        )


def _check_data(training: Dataset, test: Dataset, preprocessing: Preprocessing) -> None:
    if len(training) < 2:
        raise UsageError(f"{training.name} has {len(training)} samples; training needs 2 or more")
    if len(training.classes) < len(test.classes) or test.classes != training.classes[: len(test.classes)]:
        raise UsageError(f"{training.name} and {test.name} do not have the same classes")
    if preprocessing.channels not in (1, 3):
        raise UsageError(f"the network takes {preprocessing.channels} channels; images have 1 or 3")


def _prepare(module: torch.nn.Module, recipe: Recipe) -> None:
    """Set what the recipe says about the network itself: dropout rates and where the classifier starts."""
    from torch import nn

    for layer in module.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = recipe.dropout
    linear = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
    if recipe.zero_classifier and linear:
        nn.init.zeros_(linear[-1].weight)
