"""The binary networks: sizes of the literature, shapes, and what `models show` says."""

from __future__ import annotations

import pytest
import torch
from click.testing import CliRunner

from edgeml.cli import models
from edgeml.core.errors import UsageError
from edgeml.models.binary.birealnet import BiRealNet, BiRealNetConfig
from edgeml.models.binary.blocks import BinaryBlock, BlockForm, RPReLU
from edgeml.models.binary.family import MEMBERS, build
from edgeml.models.complexity import Complexity, count

pytestmark = pytest.mark.torch


def cost(name: str) -> Complexity:
    with torch.device("meta"):
        network = build(name, classes=None, in_channels=None, resolution=None)
    return count(network.module, network.input_shape)


def test_birealnet18_has_the_bits_of_resnet18s_3x3_convolutions() -> None:
    found = cost("birealnet18")
    assert found.bits == pytest.approx(10.99e6, rel=1e-3)  # as the literature counts it
    stages = (4 * 64 * 64, 64 * 128 + 3 * 128 * 128, 128 * 256 + 3 * 256 * 256, 256 * 512 + 3 * 512 * 512)
    assert found.bits == 9 * sum(stages)
    # One product for each bit and each pixel that the bit is used for.
    assert found.bit_operations == 9 * sum(stage * side**2 for stage, side in zip(stages, (56, 28, 14, 7), strict=True))


def test_vgg_small_costs_what_the_literature_says() -> None:
    found = cost("vgg-small")
    # 4.656 Mbit of the literature are with the first and the last layer.
    assert found.bits + 9 * 3 * 128 + 8192 * 10 == pytest.approx(4.656e6, rel=1e-3)
    assert found.bit_operations == pytest.approx(0.603e9, rel=2e-3)
    assert found.macs == 9 * 3 * 128 * 32**2 + 8192 * 10


def test_bits_and_numbers_are_counted_apart() -> None:
    block = BinaryBlock(8, 16, 2, BlockForm(activation="rprelu", learned_threshold=True))
    assert count(block, (8, 6, 6)) == Complexity(
        params=8 + (8 * 16 + 32) + 32 + 3 * 16, macs=8 * 16 * 9, bits=9 * 8 * 16, bit_operations=9 * 8 * 16 * 9
    )


@pytest.mark.parametrize("name", MEMBERS)
def test_odd_sizes_and_gradients_pass_through(name: str) -> None:
    network = build(name, classes=3, in_channels=2, resolution=44)
    module = network.module.train()
    module(torch.randn(2, 2, 44, 44)).square().sum().backward()
    for key, parameter in module.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key


def test_the_first_and_the_last_layer_are_real() -> None:
    for name in MEMBERS:
        with torch.device("meta"):
            module = build(name, classes=None, in_channels=None, resolution=None).module

        kernels = [
            part
            for part in module.modules()
            if isinstance(part, (torch.nn.Conv2d, torch.nn.Linear)) or hasattr(part, "binarize_weights")
        ]

        assert isinstance(kernels[0], torch.nn.Conv2d)
        assert isinstance(kernels[-1], torch.nn.Linear)


def test_the_light_stem_takes_a_thirteenth_of_resnets() -> None:
    def macs(config: BiRealNetConfig) -> int:
        with torch.device("meta"):
            return count(BiRealNet(config).stem, (3, 224, 224)).macs

    heavy, light = macs(BiRealNetConfig()), macs(BiRealNetConfig(stem="light"))
    assert heavy / light == pytest.approx(13, abs=0.5)


def test_rprelu_moves_the_kink_of_prelu() -> None:
    layer = RPReLU(2)
    with torch.no_grad():
        layer.before.copy_(torch.tensor([1.0, -1.0]))
        layer.after.copy_(torch.tensor([5.0, 7.0]))
    x = torch.tensor([0.0, 3.0])[None, :, None, None].expand(1, 2, 1, 1)
    # (0 - 1) / 4 + 5, and (3 + 1) + 7.
    assert layer(x).flatten().tolist() == [4.75, 11.0]


@pytest.mark.parametrize("resolution", [7, 4096])
def test_sizes_out_of_range_are_refused(resolution: int) -> None:
    with pytest.raises(UsageError, match=f"resolution {resolution} is out of range; allowed: 8 to 2048"):
        build("vgg-small", classes=10, in_channels=3, resolution=resolution)


def test_the_command_line_shows_bits_apart() -> None:
    done = CliRunner().invoke(models.command, ["show", "binarynet-small"])
    assert done.exit_code == 0
    found = cost("binarynet-small")
    assert f"{found.bits:,} weights of one bit, {found.bit_operations / 1e6:.1f}M bit-operations" in done.output
