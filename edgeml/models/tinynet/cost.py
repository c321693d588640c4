"""What a member of the family costs, line by line, by arithmetic alone: fast enough to search with.

`edgeml.models.complexity` counts the same by running the network; a test holds the two equal to the unit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from edgeml.models.tinynet.config import STEM_CHANNELS, Stage, TinyNetConfig, reduced_channels


@dataclass(frozen=True)
class StageCost:
    """One line of the table of stages.

    Attributes:
        stage: "stem", "1" ... "7", "head" or "classifier".
        repeats: number of blocks.
        channels: output channels.
        kernel: side of its spatial kernel.
        stride: step of its first block.
        resolution: side of its output in pixels.
        params: learned numbers, those of its normalization among them.
        macs: multiply-accumulates for one image.
    """

    stage: str
    repeats: int
    channels: int
    kernel: int
    stride: int
    resolution: int
    params: int
    macs: int


def stage_costs(config: TinyNetConfig, *, classes: int = 1000, in_channels: int = 3) -> list[StageCost]:
    """Stem, the seven stages, head and classifier of the network of `config`, in order."""
    size = math.ceil(config.resolution / 2)
    weights = 9 * in_channels * STEM_CHANNELS
    lines = [
        StageCost("stem", 1, STEM_CHANNELS, 3, 2, size, weights + _norm(STEM_CHANNELS), weights * size**2),
    ]
    channels = STEM_CHANNELS
    for number, stage in enumerate(config.stages, start=1):
        blocks = list(_blocks(stage, channels, size))
        size, channels = math.ceil(size / stage.stride), stage.channels
        params, macs = (sum(values) for values in zip(*blocks, strict=True))
        lines.append(StageCost(str(number), stage.repeats, channels, stage.kernel, stage.stride, size, params, macs))
    head = config.head_channels
    lines.append(StageCost("head", 1, head, 1, 1, size, channels * head + _norm(head), channels * head * size**2))
    lines.append(StageCost("classifier", 1, classes, 1, 1, 1, (head + 1) * classes, head * classes))
    return lines


def params_of(config: TinyNetConfig, *, classes: int, in_channels: int) -> int:
    """Learned numbers of the network."""
    return sum(line.params for line in stage_costs(config, classes=classes, in_channels=in_channels))


def macs_of(config: TinyNetConfig, *, classes: int, in_channels: int) -> int:
    """Multiply-accumulates of the network for one image."""
    return sum(line.macs for line in stage_costs(config, classes=classes, in_channels=in_channels))


def _blocks(stage: Stage, in_channels: int, size: int) -> Iterator[tuple[int, int]]:
    """Parameters and multiply-accumulates of each block."""
    stride = stage.stride
    for _ in range(stage.repeats):
        yield _block(stage, in_channels, size, math.ceil(size / stride))
        size = math.ceil(size / stride)
        in_channels, stride = stage.channels, 1


def _block(stage: Stage, in_channels: int, size: int, out_size: int) -> tuple[int, int]:
    hidden, reduced = in_channels * stage.expansion, reduced_channels(in_channels)
    expand = in_channels * hidden if stage.expansion > 1 else 0
    depthwise = stage.kernel**2 * hidden
    gate = 2 * hidden * reduced
    project = hidden * stage.channels
    norms = _norm(hidden) * (2 if stage.expansion > 1 else 1) + _norm(stage.channels)
    params = expand + depthwise + gate + reduced + hidden + project + norms
    return params, expand * size**2 + (depthwise + project) * out_size**2 + gate


def _norm(channels: int) -> int:
    return 2 * channels
