"""Schedules and averages against their formulas."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from edgeml.models.training.optimization import build_average, build_optimizer, build_schedule
from edgeml.models.training.recipe import Recipe, get_recipe

pytestmark = pytest.mark.torch


def rates(recipe: Recipe, steps_per_epoch: int) -> list[float]:
    optimizer = build_optimizer(nn.Linear(2, 2), recipe)
    schedule = build_schedule(optimizer, recipe, steps_per_epoch)
    values = []
    for _ in range(recipe.epochs * steps_per_epoch):
        values.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return values


def test_the_published_schedule_warms_up_and_steps_down() -> None:
    recipe = get_recipe(batch_size=1024)
    values = rates(recipe, 10)
    assert values[:30] == sorted(values[:30])
    assert values[0] < 0.002
    for epoch in (3, 10, 100, 449):
        assert values[epoch * 10] == pytest.approx(0.048 * 0.97 ** math.floor(epoch / 2.4))


def test_one_cycle_peaks_after_warm_up_and_ends_near_zero() -> None:
    recipe = get_recipe("quick", epochs=8)
    values = rates(recipe, 20)
    assert max(values) == pytest.approx(recipe.peak_learning_rate)
    assert values.index(max(values)) == pytest.approx(recipe.warmup_epochs * 20, abs=1)
    assert values[-1] < recipe.peak_learning_rate * 1e-4


def test_biases_and_normalization_are_not_decayed() -> None:
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    decayed, spared = build_optimizer(module, get_recipe()).param_groups
    assert [tuple(p.shape) for p in decayed["params"]] == [(2, 1, 3, 3)]
    assert (len(spared["params"]), spared["weight_decay"], decayed["weight_decay"]) == (3, 0.0, 1e-5)


@pytest.mark.parametrize("name", ["tinynet", "quick"])
def test_the_average_follows_the_recursion_for_weights_and_statistics(name: str) -> None:
    recipe = get_recipe(name)
    module = nn.BatchNorm1d(1)
    average = build_average(module, recipe)
    weight = statistic = 0.0
    for update in range(30):
        value = float(update**2)
        assert module.running_mean is not None
        with torch.no_grad():
            module.weight.fill_(value)
            module.running_mean.fill_(-value)
        average.update_parameters(module)
        warm = (1 + update) / (10 + update)
        decay = 0.0 if update == 0 else min(recipe.ema_decay, warm) if recipe.ema_warmup else recipe.ema_decay
        weight = decay * weight + (1 - decay) * value
        statistic = decay * statistic - (1 - decay) * value
    assert isinstance(average.module, nn.BatchNorm1d)
    assert average.module.weight.item() == pytest.approx(weight, rel=1e-4)
    assert average.module.running_mean is not None
    assert average.module.running_mean.item() == pytest.approx(statistic, rel=1e-4)
