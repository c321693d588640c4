"""Quantization-aware fine-tuning of a ResQ network: through key frame and residuals, on short pieces of clips.

Each step draws clips, a key frame in each and residual frames up to the interval after it, runs both as they will run,
and takes the task's loss on all of them; weights, biases and quantizers' steps learn. Frame-by-frame quantization
(an interval of 1) learns from as many frames in as many steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from edgeml.core.errors import UsageError
from edgeml.models.video.resq.bits import FLOAT
from edgeml.models.video.resq.network import ResQNetwork


@dataclass(frozen=True, kw_only=True)
class FinetuneOptions:
    """How to fine-tune.

    Attributes:
        steps: of the optimizer (Adam); the learning rates fall to 0 along half a cosine.
        clips: drawn for each step.
        residual_frames: after each key frame, 1 or more.
        learning_rate: of weights and biases, at first.
        scale_learning_rate: of the binary logarithms of the quantizers' steps, at first.
        distillation: weight of the divergence from the float network's classes, beside the loss on the labels.
        seed: of what is drawn.

    Raises:
        UsageError: a number is out of its range.
    """

    steps: int = 300
    clips: int = 4
    residual_frames: int = 1
    learning_rate: float = 5e-4
    scale_learning_rate: float = 5e-3
    distillation: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "clips", "residual_frames"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}; fine-tuning wants 1 or more")
        for name in ("learning_rate", "scale_learning_rate", "distillation"):
            if not getattr(self, name) >= 0:
                raise UsageError(f"{name} is {getattr(self, name)}; it is 0 or more")

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return dict(vars(self))


def finetune(
    network: ResQNetwork,
    clips: Tensor,
    labels: Tensor,
    *,
    key_interval: int,
    options: FinetuneOptions,
    progress: Callable[[int, float], None] | None = None,
) -> None:
    """Train `network`, calibrated for this interval, in place.

    Args:
        network: without tiles, whose choice has no gradient.
        clips: float32 (clip, time, channels, height, width).
        labels: int64 (clip, time, height, width) of maps, (clip, time) of frames; -100 counts for nothing.
        key_interval: residual frames are drawn from what follows the key frame up to this.
        options: how.
        progress: called after each step with its number, from 1, and the loss.

    Raises:
        UsageError: the network has tiles, or the clips are too short for a residual.
    """
    if network.tiles is not None:
        raise UsageError("a network with tiles cannot be fine-tuned; fine-tune it without, then add them")
    if key_interval > 1 and clips.shape[1] < 2:
        raise UsageError("clips of 1 frame show no residual; give clips of 2 frames or more")
    generator = torch.Generator().manual_seed(options.seed)
    teacher = ResQNetwork(network.graph, key=FLOAT, residual=FLOAT).to(clips.device) if options.distillation else None
    optimizer = torch.optim.Adam(_groups(network, options))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, options.steps)
    for step in range(1, options.steps + 1):
        clip = torch.randint(len(clips), (options.clips,), generator=generator)
        times = _draw_times(clips.shape[1], key_interval, options, generator)
        frames = [clips[clip, time] for time in times]
        results = _unrolled(network, frames, key_interval)
        loss = torch.stack([
            F.cross_entropy(result, labels[clip, time]) for result, time in zip(results, times, strict=True)
        ]).mean()  # fmt: skip
        if teacher is not None:
            loss = loss + options.distillation * _divergence(teacher, frames, results)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        if progress is not None:
            progress(step, float(loss.detach()))


def _groups(network: ResQNetwork, options: FinetuneOptions) -> list[dict[str, Any]]:
    scales = [value for name, value in network.named_parameters() if name.endswith("log2_scale")]
    others = [value for name, value in network.named_parameters() if not name.endswith("log2_scale")]
    return [
        {"params": others, "lr": options.learning_rate},
        {"params": scales, "lr": options.scale_learning_rate},
    ]


def _draw_times(length: int, key_interval: int, options: FinetuneOptions, generator: torch.Generator) -> list[Tensor]:
    """Times of the key frames, then of each round of residual frames, int64 (clip)."""

    def draw(most: Tensor) -> Tensor:  # 0 to most, both included
        return (torch.rand(len(most), generator=generator) * (most + 1)).long().clamp(max=most)

    last = torch.full((options.clips,), length - 1)
    if key_interval == 1:
        return [draw(last) for _ in range(1 + options.residual_frames)]
    reach = torch.full_like(last, min(key_interval, length) - 2)
    offsets = [1 + draw(reach) for _ in range(options.residual_frames)]
    key = draw(last - torch.stack(offsets).amax(0))
    return [key, *(key + offset for offset in offsets)]


def _unrolled(network: ResQNetwork, frames: list[Tensor], key_interval: int) -> list[Tensor]:
    if key_interval == 1:
        return [network.key_frame(frame)[0] for frame in frames]
    first, state = network.key_frame(frames[0])
    return [first, *(network.residual_frame(frame, state) for frame in frames[1:])]


def _divergence(teacher: ResQNetwork, frames: list[Tensor], results: list[Tensor]) -> Tensor:
    """Mean over frames and pixels of KL(float network || result)."""
    with torch.no_grad():
        targets = [F.log_softmax(teacher.key_frame(frame)[0], 1) for frame in frames]
    divergences = [
        (target.exp() * (target - F.log_softmax(result, 1))).sum(1).mean()
        for target, result in zip(targets, results, strict=True)
    ]
    return torch.stack(divergences).mean()
