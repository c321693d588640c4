"""Small networks for the tests of video conversion, fixed ones and random ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgeml.models.tinynet.config import TinyNetConfig
from edgeml.models.video.networks.encoder_decoder import EncoderDecoder
from edgeml.models.video.networks.tinynet_lite import TinyNetLite
from edgeml.models.video.networks.two_branch import TwoBranch

Shape = tuple[int, int, int]

NETWORKS: dict[str, tuple[Any, Shape]] = {
    "encoder-decoder": (lambda: EncoderDecoder(channels=(4, 6, 8), classes=3), (3, 16, 24)),
    "bilinear": (lambda: EncoderDecoder(channels=(4, 6), classes=3, upsampling="bilinear"), (3, 12, 20)),
    "two-branch": (lambda: TwoBranch(width=3, classes=4), (3, 32, 64)),
    "classifier": (lambda: TinyNetLite(TinyNetConfig(32, 0.1, 0.1), classes=5), (3, 33, 32)),
}


def settled(module: nn.Module, shape: Shape, seed: int = 0) -> nn.Module:
    """`module` in evaluation mode, its statistics those of random frames and its affine numbers random."""
    torch.manual_seed(seed)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d | nn.BatchNorm1d):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, 0.0, 0.3)
    module.train()
    with torch.no_grad():
        for _ in range(4):
            module(torch.randn(4, *shape))
    return module.eval()


def network(name: str) -> tuple[nn.Module, Shape]:
    torch.manual_seed(0)
    build, shape = NETWORKS[name]
    return settled(build(), shape), shape


class RandomNetwork(nn.Module):
    """A network of up to `length` random steps, drawn by a seed; any map may be read again by a later step."""

    def __init__(self, seed: int, length: int, *, classifier: bool, kinds: tuple[str, ...]) -> None:
        super().__init__()
        generator = np.random.default_rng(seed)
        self.plan: list[tuple[str, list[int], Any]] = []
        self.layers = nn.ModuleList()
        channels = [3]
        sizes = [(16, 24)]
        for _ in range(length):
            kind = str(generator.choice(kinds))
            source = int(generator.integers(len(channels)))
            inside, (height, width) = channels[source], sizes[source]
            if kind == "conv":
                self._conv(generator, source, channels, sizes)
            elif kind == "relu":
                operator = [F.relu, F.relu6, F.silu, torch.sigmoid, F.leaky_relu][generator.integers(5)]
                self._note("call", [source], operator, channels, sizes, inside, (height, width))
            elif kind in {"add", "cat"}:
                alike = [
                    index
                    for index in range(len(channels))
                    if sizes[index] == (height, width) and (kind == "cat" or channels[index] == inside)
                ]
                others = [int(each) for each in generator.choice(alike, size=1 if kind == "add" else 2)]
                outside = inside if kind == "add" else inside + sum(channels[other] for other in others)
                if outside <= 24:
                    self._note(kind, [source, *others], None, channels, sizes, outside, (height, width))
            elif kind == "pool" and min(height, width) >= 4:
                pool = [nn.MaxPool2d(3, 2, 1), nn.AvgPool2d(2), nn.AvgPool2d(3, 2, 1), nn.MaxPool2d(2, ceil_mode=True)]
                self._note("call", [source], pool[generator.integers(4)], channels, sizes, inside, None)
            elif kind == "up" and max(height, width) <= 24:
                up = nn.Upsample(scale_factor=2, mode=("nearest", "bilinear")[generator.integers(2)])
                self._note("call", [source], up, channels, sizes, inside, None)
        self.output = nn.Conv2d(channels[-1], 4, 1) if not classifier else nn.Linear(channels[-1], 4)
        self.classifier = classifier

    def _conv(self, generator: np.random.Generator, source: int, channels: list[int], sizes: list[Any]) -> None:
        inside, kernel = channels[source], int(generator.choice([1, 3, 5]))
        group = inside if generator.random() < 0.3 else 1
        outside = inside if group > 1 else int(generator.integers(1, 9))
        dilation = int(generator.integers(1, 3))
        stride = int(generator.integers(1, 3)) if min(sizes[source]) > 4 else 1
        padding, bias = dilation * (kernel // 2), bool(generator.random() < 0.5)
        layers: list[nn.Module] = [
            nn.Conv2d(inside, outside, kernel, stride, padding, dilation=dilation, groups=group, bias=bias)
        ]
        if generator.random() < 0.6:
            layers.append(nn.BatchNorm2d(outside))
        if generator.random() < 0.6:
            layers.append([nn.ReLU(inplace=True), nn.ReLU6(), nn.Hardswish()][generator.integers(3)])
        self._note("call", [source], nn.Sequential(*layers), channels, sizes, outside, None)

    def _note(
        self, kind: str, sources: list[int], called: Any, channels: list[int], sizes: list[Any], outside: int, size: Any
    ) -> None:
        if isinstance(called, nn.Module):
            self.layers.append(called)
        self.plan.append((kind, sources, len(self.layers) - 1 if isinstance(called, nn.Module) else called))
        if size is None:
            with torch.no_grad():
                size = tuple(called.eval()(torch.zeros(1, channels[sources[0]], *sizes[sources[0]])).shape[2:])
        channels.append(outside)
        sizes.append(size)

    def forward(self, x: Tensor) -> Tensor:
        values = [x]
        for kind, sources, called in self.plan:
            read = [values[source] for source in sources]
            if kind == "add":
                values.append(read[0] + read[1])
            elif kind == "cat":
                values.append(torch.cat(read, dim=1))
            else:
                values.append(self.layers[called](read[0]) if isinstance(called, int) else called(read[0]))
        last = values[-1]
        y: Tensor = self.output(F.adaptive_avg_pool2d(last, 1).flatten(1)) if self.classifier else self.output(last)
        return y


RANDOM_SHAPE: Shape = (3, 16, 24)
ALL_KINDS = ("conv", "conv", "relu", "add", "cat", "pool", "up")


def random_network(seed: int, length: int, *, classifier: bool, kinds: tuple[str, ...] = ALL_KINDS) -> nn.Module:
    torch.manual_seed(seed)
    return settled(RandomNetwork(seed, length, classifier=classifier, kinds=kinds), RANDOM_SHAPE, seed)


def clip(shape: Shape, frames: int, seed: int = 0) -> Iterator[np.ndarray]:
    """Frames, float32 (1, channels, height, width), of which a small square changes each time, and once nothing."""
    generator = np.random.default_rng(seed)
    channels, height, width = shape
    frame = generator.normal(size=(1, *shape)).astype(np.float32)
    for index in range(frames):
        yield frame
        frame = frame.copy()
        if index != 1:
            top, left = generator.integers(height - 4), generator.integers(width - 4)
            frame[:, :, top : top + 4, left : left + 4] += generator.normal(size=(1, channels, 4, 4))


def calibration(shape: Shape, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(3, *shape)).astype(np.float32)
