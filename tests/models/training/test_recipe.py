"""Recipes as published, and what may be changed about them."""

from __future__ import annotations

import pytest

from edgeml.core.errors import UsageError
from edgeml.models.training.recipe import RECIPES, get_recipe


def test_the_default_is_tinynets_published_recipe() -> None:
    recipe = get_recipe()
    assert recipe.name == "tinynet"
    assert (recipe.epochs, recipe.warmup_epochs, recipe.decay_rate, recipe.decay_epochs) == (450, 3, 0.97, 2.4)
    assert (recipe.weight_decay, recipe.epsilon, recipe.ema_decay) == (1e-5, 1e-3, 0.9999)
    assert (recipe.dropout, recipe.label_smoothing) == (0.2, 0.1)
    # 128 images on each of 8 workers at .048.
    assert get_recipe(batch_size=1024).peak_learning_rate == pytest.approx(0.048)
    assert recipe.peak_learning_rate == pytest.approx(0.048 / 8)


def test_a_given_learning_rate_holds_at_the_given_batch_size() -> None:
    assert get_recipe("quick", batch_size=64, learning_rate=0.01).peak_learning_rate == pytest.approx(0.01)


def test_warm_up_keeps_its_share_of_a_shorter_run_and_its_length_in_a_longer_one() -> None:
    quick = RECIPES["quick"]
    short = get_recipe("quick", epochs=2)
    assert short.warmup_epochs / short.epochs == pytest.approx(quick.warmup_epochs / quick.epochs)
    assert get_recipe("quick", epochs=100).warmup_epochs == quick.warmup_epochs


def test_flips_can_be_switched_off() -> None:
    assert not get_recipe("tinynet", flip=False).augmentation.flip


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "slow"}, "unknown recipe 'slow'; allowed: tinynet, quick"),
        ({"epochs": 0}, "epochs 0 is not possible; allowed: 1 or more"),
        ({"batch_size": 1}, "allowed: 2 or more"),
        ({"learning_rate": float("nan")}, "learning rate nan is not possible"),
        ({"learning_rate": 0.0}, "learning rate"),
    ],
)
def test_impossible_values_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        get_recipe(**values)  # type: ignore[arg-type]


def test_the_weight_of_the_tree_loss_is_the_user_s_or_the_recipe_s() -> None:
    assert get_recipe("binary").tree_weight == 0
    assert get_recipe("binary", tree_weight=0.01).tree_weight == 0.01
    with pytest.raises(UsageError, match="tree weight nan is not possible"):
        get_recipe("binary", tree_weight=float("nan"))
