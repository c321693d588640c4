"""The binary recipe: real weights first, signs then, and latent weights as the recipe's rules have them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from edgeml.models.binary.layers import BinaryConv2d, BinaryLinear, binary_layers
from edgeml.models.datasets import default_preprocessing, open_dataset
from edgeml.models.training import TrainResult, get_recipe, train
from edgeml.models.training.binary_stages import enter_stage
from edgeml.models.training.optimization import build_optimizer
from edgeml.models.training.progress import Progress

pytestmark = pytest.mark.torch

RECIPE = replace(get_recipe("binary", epochs=4, batch_size=64), real_weight_epochs=2)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(16),
        BinaryConv2d(16, 32, 3, padding=1, weight_scale="learned", learned_threshold=True),
        nn.BatchNorm2d(32),
        BinaryConv2d(32, 32, 3, stride=2, padding=1),
        nn.BatchNorm2d(32),
        nn.Flatten(),
        nn.Linear(128, 10),
    )


def run(output: Path, module: nn.Module, **options: Any) -> TrainResult:
    training = open_dataset("digits:train")
    return train(
        module,
        network="tiny",
        preprocessing=default_preprocessing(training),
        training=training,
        test=open_dataset("digits:test"),
        recipe=RECIPE,
        output=output,
        device="cpu",
        **options,
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, TrainResult]:
    """A run that was not interrupted, and its network."""
    module = network()
    return module, run(tmp_path_factory.mktemp("whole") / "run", module)


def test_a_binary_network_learns_and_ends_with_binary_weights_within_one(whole: tuple[nn.Module, TrainResult]) -> None:
    module, result = whole
    assert result.top1 > 0.9
    for _, layer in binary_layers(module):
        assert layer.binarize_weights
        assert layer.weight.abs().max() <= 1


def test_weights_are_real_in_the_first_epochs_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = network()
    stages = []
    end_epoch = Progress.end_epoch

    def noted(self: Progress, metrics: dict[str, Any]) -> None:
        stages.append([layer.binarize_weights for _, layer in binary_layers(module)])
        end_epoch(self, metrics)

    monkeypatch.setattr(Progress, "end_epoch", noted)
    run(tmp_path / "run", module)
    assert stages == [[False, False]] * 2 + [[True, True]] * 2


@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_a_run_stopped_before_at_or_after_the_change_of_stage_resumes_to_the_same_weights(
    epochs: int, whole: tuple[nn.Module, TrainResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        end_epoch = Progress.end_epoch

        def stopping(self: Progress, metrics: dict[str, Any]) -> None:
            end_epoch(self, metrics)
            if metrics["epoch"] == epochs:
                raise KeyboardInterrupt

        patch.setattr(Progress, "end_epoch", stopping)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "stopped", network())
    resumed = run(tmp_path / "stopped", network(), resume=True)
    assert resumed.epochs == 4
    assert resumed.sha256 == whole[1].sha256


def test_learned_scales_are_settled_once_when_weights_become_signs() -> None:
    layer = BinaryConv2d(2, 3, 3, weight_scale="learned")
    assert layer.scale is not None
    mean = layer.weight.detach().abs().mean((1, 2, 3))

    class State:
        module, average, epoch = layer, nn.ModuleDict({"module": layer}), 0

    state: Any = State()
    state.average.module = layer
    for epoch, expected in ((1, torch.ones(3)), (2, mean), (3, torch.ones(3))):
        nn.init.ones_(layer.scale)
        state.epoch = epoch
        enter_stage(state, RECIPE)
        torch.testing.assert_close(layer.scale.detach(), expected)


def test_latent_weights_are_not_decayed() -> None:
    module = nn.Sequential(nn.Linear(3, 4), BinaryLinear(4, 5, learned_threshold=True))
    decayed, spared = build_optimizer(module, RECIPE).param_groups
    assert [tuple(p.shape) for p in decayed["params"]] == [(4, 3)]
    assert sorted(tuple(p.shape) for p in spared["params"]) == [(4,), (4,), (5, 4)]
    assert (spared["weight_decay"], decayed["weight_decay"]) == (0.0, RECIPE.weight_decay)


def test_a_shorter_run_keeps_the_share_of_its_first_stage() -> None:
    recipe = get_recipe("binary")
    half = get_recipe("binary", epochs=recipe.epochs // 2)
    assert half.real_weight_epochs == recipe.real_weight_epochs // 2
    assert get_recipe("binary", epochs=1).real_weight_epochs == 0
