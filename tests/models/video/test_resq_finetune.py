"""Fine-tuning lowers the loss of what will run, at residuals and frame by frame."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.nn import functional as F

from edgeml.core.errors import UsageError
from edgeml.models.video.resq.bits import EIGHT, FLOAT, Bits, TilePolicy
from edgeml.models.video.resq.calibration import calibrate
from edgeml.models.video.resq.finetune import FinetuneOptions, finetune
from edgeml.models.video.resq.network import ResQNetwork
from tests.models.video.resq_graphs import classifier, moving_square, segmenter

pytestmark = pytest.mark.torch


@pytest.mark.parametrize("key_interval", [1, 4])
def test_fine_tuning_lowers_the_loss(key_interval: int) -> None:
    clips, masks = moving_square()
    graph = segmenter()
    network = ResQNetwork(graph, key=EIGHT if key_interval > 1 else Bits(3, 3), residual=Bits(3, 3))
    calibrate(network, clips, key_interval)
    before = copy.deepcopy(network.state_dict())
    loss_before = _loss(network, clips, masks, key_interval)
    seen: list[tuple[int, float]] = []
    finetune(
        network, clips, masks, key_interval=key_interval,
        options=FinetuneOptions(steps=40, learning_rate=2e-3, distillation=0.1, residual_frames=2),
        progress=lambda step, loss: seen.append((step, loss)),
    )  # fmt: skip
    assert [step for step, _ in seen] == list(range(1, 41))
    assert _loss(network, clips, masks, key_interval) < 0.6 * loss_before
    used = "residual" if key_interval > 1 else "key"
    moved = [name for name, value in network.state_dict().items() if not torch.equal(value, before[name])]
    assert {f"_layers.0.{used}_{part}.log2_scale" for part in ("weight", "activation")} <= set(moved)
    assert {"_layers.0.weight", "_layers.0.bias"} <= set(moved)


def test_frames_can_have_labels_and_the_same_seed_gives_the_same_network() -> None:
    clips, _ = moving_square(clips=2, times=3)
    labels = torch.tensor([[0, 1, 2], [3, 4, 0]])
    results = []
    for _ in range(2):
        network = ResQNetwork(classifier(), residual=Bits(4, 4))
        calibrate(network, clips, 2)
        finetune(network, clips, labels, key_interval=2, options=FinetuneOptions(steps=3, distillation=0))
        results.append(network.layer("head").weight.detach())
    assert torch.equal(*results)


def test_tiles_and_clips_of_one_frame_are_refused() -> None:
    clips, masks = moving_square()
    options = FinetuneOptions(steps=1)
    tiled = ResQNetwork(segmenter(), residual=EIGHT, tiles=TilePolicy())
    with pytest.raises(UsageError, match="tiles"):
        finetune(tiled, clips, masks, key_interval=2, options=options)
    network = ResQNetwork(segmenter(), key=FLOAT, residual=FLOAT)
    with pytest.raises(UsageError, match="1 frame"):
        finetune(network, clips[:, :1], masks[:, :1], key_interval=2, options=options)


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"residual_frames": 0}, {"learning_rate": -1.0}])
def test_options_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        FinetuneOptions(**wrong)  # type: ignore[arg-type]


@torch.no_grad()
def _loss(network: ResQNetwork, clips: torch.Tensor, masks: torch.Tensor, key_interval: int) -> float:
    return float(F.cross_entropy(network(clips, key_interval).flatten(0, 1), masks.flatten(0, 1)))
