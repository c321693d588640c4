"""A small binary network with shortcuts, float layers between its binary ones, and dense layers at its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeml.core.preprocessing import Preprocessing
from edgeml.models.network import Network

if TYPE_CHECKING:
    import torch

SHAPE = (1, 12, 12)
WIDTH = 16
BINARY_LAYERS = ["blocks.0.conv", "blocks.1.conv", "dense"]


def binary_network(seed: int = 0) -> Network:
    import torch
    from torch import nn

    from edgeml.models.binary.layers import BinaryConv2d, BinaryLinear

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = BinaryConv2d(WIDTH, WIDTH, 3, padding=1, learned_threshold=True)
            self.norm, self.act = nn.BatchNorm2d(WIDTH), nn.PReLU(WIDTH)
            self.mix = nn.Conv2d(WIDTH, WIDTH, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            shortcut: torch.Tensor = self.mix(x)
            return shortcut + self.act(self.norm(self.conv(x)))  # type: ignore[no-any-return]

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.norm = nn.Conv2d(1, WIDTH, 3, padding=1), nn.BatchNorm2d(WIDTH)
            self.blocks = nn.Sequential(Block(), Block())
            self.dense = BinaryLinear(WIDTH, 32, learned_threshold=True)
            self.dense_norm, self.head = nn.BatchNorm1d(32), nn.Linear(32, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.blocks(self.norm(self.stem(x))).mean((2, 3))
            return self.head(self.dense_norm(self.dense(y)))  # type: ignore[no-any-return]

    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        module = Net()
        for part in module.modules():
            if isinstance(part, (nn.BatchNorm2d, nn.BatchNorm1d)):
                part.running_mean.normal_()  # type: ignore[union-attr]
                part.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
                part.weight.uniform_(0.5, 2)
                part.bias.normal_()
            if isinstance(part, BinaryConv2d):
                part.threshold.normal_(std=0.2)
    preprocessing = Preprocessing(SHAPE[1], SHAPE[2], (0.5,), (0.25,), "bilinear", 1.0)
    return Network(name="binary-test", module=module, preprocessing=preprocessing, family="test")
