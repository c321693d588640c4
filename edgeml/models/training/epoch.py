"""One pass over the training data, and one over the data that is only reported on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeml.core.preprocessing import Preprocessing
from edgeml.models.training.augmentation import augment
from edgeml.models.training.batches import Batches
from edgeml.models.training.binary_stages import enter_stage
from edgeml.models.training.device import uses_bfloat16
from edgeml.models.training.recipe import Recipe
from edgeml.models.training.state import TrainingState

if TYPE_CHECKING:
    import torch

_EVALUATION_BATCH = 256


@dataclass(frozen=True)
class InputForm:
    """How uint8 batches become what the network takes, on its device."""

    preprocessing: Preprocessing
    device: torch.device

    def normalize(self, images: torch.Tensor) -> torch.Tensor:
        """(image / 255 - mean) / std in channels-last memory, float32; twice as fast to train with on CPUs.

        Args:
            images: uint8 or float32 (batch, channels, height, width) in [0, 255].
        """
        import torch

        images = images.to(self.device).float()
        mean = images.new_tensor(self.preprocessing.mean)[:, None, None]
        std = images.new_tensor(self.preprocessing.std)[:, None, None]
        # In the order of datasets.transforms.normalize, so that both give the same bits.
        return images.div(255).sub_(mean).div_(std).contiguous(memory_format=torch.channels_last)


def epoch_seed(seed: int, epoch: int) -> int:
    """A seed for epoch `epoch` (0 before the first) of the run with `seed`; runs and epochs share none."""
    return int.from_bytes(hashlib.sha256(f"edgeml training {seed} {epoch}".encode()).digest()[:7], "big")


def train_epoch(
    state: TrainingState,
    batches: Batches,
    form: InputForm,
    recipe: Recipe,
    seed: int,
    on_batch: Callable[[int], None],
) -> float:
    """Train on every sample once; returns the mean loss.

    What the epoch draws depends only on `seed` and its number, so a resumed run repeats it. A last batch that would be
    smaller than the others is left out, as its statistics would be worse.

    Args:
        state: changed in place.
        batches: the training data.
        form: how batches become input.
        recipe: batch size, augmentation and label smoothing.
        seed: the run's seed.
        on_batch: called with the number of samples after each batch.
    """
    import torch
    from torch.nn import functional

    from edgeml.models.binary.layers import clip_latent_weights
    from edgeml.models.binary.mst_loss import TreeLoss

    generator = torch.Generator().manual_seed(epoch_seed(seed, state.epoch))
    torch.manual_seed(epoch_seed(seed, state.epoch))  # dropout draws from torch's own generator
    size = min(recipe.batch_size, len(batches))
    order = torch.randperm(len(batches), generator=generator)[: len(batches) // size * size]
    total = torch.zeros((), device=form.device)
    enter_stage(state, recipe)
    trees = TreeLoss(state.module) if recipe.tree_weight else None
    state.module.train()
    for pixels, labels in batches.serve(order, size):
        inputs = form.normalize(augment(pixels, recipe.augmentation, generator))
        with torch.autocast(form.device.type, torch.bfloat16, enabled=uses_bfloat16(form.device)):
            logits = state.module(inputs)
        loss = functional.cross_entropy(logits.float(), labels.to(form.device), label_smoothing=recipe.label_smoothing)
        if trees is not None:
            loss = loss + recipe.tree_weight * trees()
        state.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        state.optimizer.step()
        clip_latent_weights(state.module)
        state.schedule.step()
        state.average.update_parameters(state.module)
        total += loss.detach()
        on_batch(len(labels))
    state.epoch += 1
    return float(total) / (len(order) // size)


def top1(module: torch.nn.Module, batches: Batches, form: InputForm) -> float:
    """Share of samples whose highest logit is the label's, in evaluation mode and float32."""
    import torch

    module.eval()
    correct = torch.zeros((), dtype=torch.int64, device=form.device)
    with torch.inference_mode():
        for pixels, labels in batches.serve(torch.arange(len(batches)), _EVALUATION_BATCH):
            logits = module(form.normalize(pixels))
            correct += (logits.argmax(1) == labels.to(form.device)).sum()
    return int(correct) / len(batches)
