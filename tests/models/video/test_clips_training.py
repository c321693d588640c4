"""Training on drawn scenes, in miniature."""

from __future__ import annotations

import pytest

from edgeml.core.errors import UsageError

pytest.importorskip("torch")

import torch

from edgeml.models.video.clips.moving_objects import CLASSES
from edgeml.models.video.clips.segmentation_training import (
    SegmentationRecipe,
    measure_segmentation,
    train_segmentation,
)
from edgeml.models.video.family import segmentation_preprocessing

pytestmark = pytest.mark.torch
PREPROCESSING = segmentation_preprocessing(32, 32)


def network(classes: int = len(CLASSES)) -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 12, 3, padding=1, bias=False),
        torch.nn.BatchNorm2d(12),
        torch.nn.ReLU(),
        torch.nn.Conv2d(12, 12, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.Conv2d(12, classes, 1),
    )


def test_training_lowers_the_loss_and_finds_objects_in_unseen_scenes() -> None:
    module = network()
    before = measure_segmentation(module, preprocessing=PREPROCESSING, scenes=8)
    assert module.training
    told: list[int] = []
    recipe = SegmentationRecipe(scenes=64, epochs=3, batch=4, peak_learning_rate=1e-2)
    result = train_segmentation(
        module, preprocessing=PREPROCESSING, recipe=recipe, on_epoch=lambda epoch, loss: told.append(epoch)
    )
    assert told == [1, 2, 3]
    assert result.losses[-1] < result.losses[0] * 0.8
    assert tuple(result.class_iou) == CLASSES
    assert result.class_iou["background"] > max(0.7, before["background"])
    assert result.mean_iou == pytest.approx(sum(result.class_iou.values()) / len(CLASSES))
    assert not module.training


def test_the_same_seed_gives_the_same_weights() -> None:
    recipe = SegmentationRecipe(scenes=4, epochs=1, batch=2)
    states = []
    for _ in range(2):
        module = network()
        train_segmentation(module, preprocessing=PREPROCESSING, recipe=recipe)
        states.append(module.state_dict())
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_a_network_of_other_classes_and_a_recipe_out_of_range_are_refused() -> None:
    with pytest.raises(UsageError, match=r"drawn scenes need logits of shape \(4, 4, 32, 32\)"):
        train_segmentation(network(19), preprocessing=PREPROCESSING, recipe=SegmentationRecipe(scenes=4, batch=4))
    with pytest.raises(UsageError, match="0 epochs"):
        SegmentationRecipe(epochs=0)
    with pytest.raises(UsageError, match="learning rate 0"):
        SegmentationRecipe(peak_learning_rate=0)


def test_a_diverging_run_stops_with_a_word() -> None:
    recipe = SegmentationRecipe(scenes=8, epochs=4, batch=4, peak_learning_rate=1e30)
    with pytest.raises(UsageError, match="training diverged in epoch"):
        train_segmentation(network(), preprocessing=PREPROCESSING, recipe=recipe)
