"""Small video graphs with every kind of step, and clips in which a bright square moves over a still background."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from edgeml.models.video.graph import (
    Add,
    Concat,
    Conv,
    Dense,
    GlobalPool,
    Pointwise,
    Pool,
    Resize,
    VideoGraph,
)

SIZE = (16, 24)


def segmenter(classes: int = 2, seed: int = 0) -> VideoGraph:
    """A small U-Net with uneven padding, a depthwise convolution, pooling and both kinds of upsampling."""
    make = _Maker(seed)
    return VideoGraph(
        steps=(
            make.conv("stem", "frame", 3, 8, pads=(1, 1, 1, 1)),
            Pointwise(name="stem.act", x="stem", operator="relu", function=F.relu),
            make.conv("down", "stem.act", 8, 12, strides=(2, 2), pads=(0, 0, 1, 1)),
            Pointwise(name="down.act", x="down", operator="Hardswish", function=F.hardswish),
            make.conv("depthwise", "down.act", 12, 12, pads=(2, 2, 2, 2), dilations=(2, 2), group=12),
            Pointwise(name="depthwise.act", x="depthwise", operator="ReLU6", function=F.relu6),
            Add(name="sum", a="depthwise.act", b="down.act"),
            Pool(name="max", x="sum", mode="max", kernel_shape=(3, 3), strides=(2, 2), pads=(1, 1, 1, 1)),
            Pool(name="mean", x="sum", mode="average", kernel_shape=(3, 3), strides=(2, 2), pads=(1, 1, 1, 1)),
            Concat(name="pooled", parts=("max", "mean")),
            make.conv("deep", "pooled", 24, 12, kernel=1),
            Pointwise(name="deep.act", x="deep", operator="silu", function=F.silu),
            Resize(name="up", x="deep.act", mode="nearest", factor=2),
            make.conv("side", "sum", 12, 12, kernel=1),
            Add(name="joined", a="up", b="side"),
            make.conv("head", "joined", 12, classes, pads=(1, 1, 1, 1)),
            Resize(name="logits", x="head", mode="linear", factor=2),
        ),
        output="logits",
        input_shape=(3, *SIZE),
    )


def classifier(seed: int = 0) -> VideoGraph:
    """Two convolutions, a global pool and a dense layer."""
    make = _Maker(seed)
    return VideoGraph(
        steps=(
            make.conv("stem", "frame", 3, 8, strides=(2, 2), pads=(1, 1, 1, 1)),
            Pointwise(name="act", x="stem", operator="relu", function=F.relu),
            make.conv("body", "act", 8, 16, pads=(1, 1, 1, 1)),
            Pointwise(name="act2", x="body", operator="relu", function=F.relu),
            GlobalPool(name="pool", x="act2"),
            Dense(name="head", x="pool", weight=make.normal((5, 16), 16), bias=make.normal((5,), 4)),
        ),
        output="head",
        input_shape=(3, *SIZE),
    )


def moving_square(clips: int = 3, times: int = 8, *, step: int = 1) -> tuple[Tensor, Tensor]:
    """Frames, float32 (clip, time, 3, height, width), and masks of the square, int64 (clip, time, height, width)."""
    rng = np.random.default_rng(5)
    height, width = SIZE
    frames = np.repeat(rng.normal(0, 0.3, (clips, 1, 3, height, width)), times, 1).astype(np.float32)
    masks = np.zeros((clips, times, height, width), np.int64)
    for clip in range(clips):
        for time in range(times):
            top, left = 2 + 2 * clip, 1 + step * time + clip
            masks[clip, time, top : top + 6, left : left + 6] = 1
    frames += masks[:, :, None] * np.array([1.5, -1.0, 0.5], np.float32)[:, None, None]
    return torch.from_numpy(frames), torch.from_numpy(masks)


class _Maker:
    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def normal(self, shape: tuple[int, ...], taps: int) -> npt.NDArray[np.float32]:
        return self._rng.normal(0, taps**-0.5, shape).astype(np.float32)

    def conv(
        self,
        name: str,
        x: str,
        channels: int,
        outputs: int,
        *,
        kernel: int = 3,
        strides: tuple[int, int] = (1, 1),
        pads: tuple[int, int, int, int] = (0, 0, 0, 0),
        dilations: tuple[int, int] = (1, 1),
        group: int = 1,
    ) -> Conv:
        inside = channels // group
        return Conv(
            name=name,
            x=x,
            weight=1.4 * self.normal((outputs, inside, kernel, kernel), inside * kernel * kernel),
            bias=0.1 * self.normal((outputs,), 1),
            strides=strides,
            pads=pads,
            dilations=dilations,
            group=group,
        )
