"""A small squeeze-excite network with SiLU, exported once for all tests of this stage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edgeml.core.preprocessing import Preprocessing
from edgeml.core.samples import Samples
from edgeml.export.clean import clean
from edgeml.export.to_onnx import Exported, to_onnx
from edgeml.models.network import Network

if TYPE_CHECKING:
    import onnx
    import torch

SHAPE = (1, 16, 16)


@dataclass(frozen=True)
class Case:
    network: Network
    exported: Exported
    model: onnx.ModelProto

    def copy(self) -> onnx.ModelProto:
        import onnx

        copied = onnx.ModelProto()
        copied.CopyFrom(self.model)
        return copied


def small_network(seed: int = 0) -> Network:
    import torch
    from torch import nn

    class Excite(nn.Module):
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.conv_reduce, self.act = nn.Conv2d(channels, 4, 1), nn.SiLU()
            self.conv_expand = nn.Conv2d(4, channels, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            weight: torch.Tensor = self.conv_expand(self.act(self.conv_reduce(x.mean((2, 3), keepdim=True))))
            return x * weight.sigmoid()

    class Block(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            inner = 4 * width
            self.conv_pw, self.bn1 = nn.Conv2d(width, inner, 1, bias=False), nn.BatchNorm2d(inner)
            self.conv_dw = nn.Conv2d(inner, inner, 3, padding=1, groups=inner, bias=False)
            self.bn2, self.act, self.se = nn.BatchNorm2d(inner), nn.SiLU(), Excite(inner)
            self.conv_pwl, self.bn3 = nn.Conv2d(inner, width, 1, bias=False), nn.BatchNorm2d(width)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.act(self.bn2(self.conv_dw(self.act(self.bn1(self.conv_pw(x))))))
            result: torch.Tensor = x + self.bn3(self.conv_pwl(self.se(y)))
            return result

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv_stem, self.bn, self.act = nn.Conv2d(1, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.SiLU()
            self.blocks = nn.Sequential(*(Block(8) for _ in range(3)))
            self.classifier = nn.Linear(8, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.classifier(self.blocks(self.act(self.bn(self.conv_stem(x)))).mean((2, 3)))
            return logits

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = Net()
        for part in net.modules():
            if isinstance(part, nn.BatchNorm2d):
                assert part.running_mean is not None
                assert part.running_var is not None
                nn.init.normal_(part.running_mean, std=0.2)
                nn.init.uniform_(part.running_var, 0.5, 1.5)
                nn.init.uniform_(part.weight, 0.5, 1.5)
    preprocessing = Preprocessing(height=16, width=16, mean=(0.5,), std=(0.5,))
    return Network(name="small", module=net.eval(), preprocessing=preprocessing, family="test")


@pytest.fixture(scope="session")
def case() -> Case:
    network = small_network()
    exported = to_onnx(network.module, SHAPE)
    return Case(network, exported, clean(exported.model))


@pytest.fixture(scope="session")
def samples() -> Samples:
    generator = np.random.default_rng(1)
    inputs = generator.standard_normal((64, *SHAPE)).astype(np.float32)
    return Samples("noise:train", inputs, np.zeros(64, np.int64), tuple("0123456789"))
