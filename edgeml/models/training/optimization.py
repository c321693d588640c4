"""Builds the optimizer, the learning-rate schedule and the weights' moving average that a recipe names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeml.models.training.recipe import Recipe

if TYPE_CHECKING:
    import torch
    from torch.optim.lr_scheduler import LRScheduler
    from torch.optim.swa_utils import AveragedModel

    _Tensors = tuple[torch.Tensor, ...] | list[torch.Tensor]

_RMSPROP_SMOOTHING = 0.9
_MOMENTUM = 0.9


def build_optimizer(module: torch.nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimizer; weight decay spares biases, normalization and the latent weights of binary layers.

    Biases and normalization are everything with one axis. Of a latent weight only the sign counts: decay would not
    make it smaller in effect, only readier to flip.
    """
    import torch

    from edgeml.models.binary.layers import binary_layers

    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    latent = {id(layer.weight) for _, layer in binary_layers(module)}
    decays = [parameter.ndim > 1 and id(parameter) not in latent for parameter in parameters]
    groups = [
        {
            "params": [p for p, decay in zip(parameters, decays, strict=True) if decay],
            "weight_decay": recipe.weight_decay,
        },
        {"params": [p for p, decay in zip(parameters, decays, strict=True) if not decay], "weight_decay": 0.0},
    ]
    rate = recipe.peak_learning_rate
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=rate, eps=recipe.epsilon, fused=True)
    return torch.optim.RMSprop(
        groups, lr=rate, alpha=_RMSPROP_SMOOTHING, momentum=_MOMENTUM, eps=recipe.epsilon, foreach=True
    )


def build_schedule(optimizer: torch.optim.Optimizer, recipe: Recipe, steps_per_epoch: int) -> LRScheduler:
    """The recipe's learning-rate schedule, advanced once a step."""
    from torch.optim.lr_scheduler import LambdaLR, OneCycleLR

    if recipe.schedule == "one-cycle":
        return OneCycleLR(
            optimizer,
            max_lr=recipe.peak_learning_rate,
            total_steps=max(recipe.epochs * steps_per_epoch, 2),
            pct_start=recipe.warmup_epochs / recipe.epochs,
        )

    def factor(step: int) -> float:
        epoch = step / steps_per_epoch
        if epoch < recipe.warmup_epochs:
            return float((step + 1) / (recipe.warmup_epochs * steps_per_epoch + 1))
        return float(recipe.decay_rate ** (epoch // recipe.decay_epochs))

    return LambdaLR(optimizer, factor)


def build_average(module: torch.nn.Module, recipe: Recipe) -> AveragedModel:
    """An exponential moving average of weights and BatchNorm statistics.

    The statistics are averaged with the weights, since those of the last step belong to the last step's weights.
    """
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

    def average(averaged: _Tensors, current: _Tensors, updates: torch.Tensor | int) -> None:
        decay = recipe.ema_decay
        if recipe.ema_warmup:
            decay = min(decay, (1 + int(updates)) / (10 + int(updates)))
        get_ema_multi_avg_fn(decay)(averaged, current, updates)  # type: ignore[no-untyped-call]

    return AveragedModel(module, multi_avg_fn=average, use_buffers=True)
