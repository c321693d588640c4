"""Counts against torch's own shapes, and the ratios that follow from the bits alone."""

from __future__ import annotations

import math

import pytest
import torch

from edgeml.models.video import execute
from edgeml.models.video.graph import Conv, Dense, VideoGraph
from edgeml.models.video.resq.bit_operations import bit_operations, tiled_bit_operations, work
from edgeml.models.video.resq.bits import EIGHT, FLOAT, Bits, TilePolicy
from edgeml.models.video.resq.network import ResQNetwork
from edgeml.models.video.resq.shapes import value_shapes
from tests.models.video.resq_graphs import classifier, moving_square, segmenter

pytestmark = pytest.mark.torch


@pytest.mark.parametrize("graph", [segmenter(), classifier()], ids=["segmenter", "classifier"])
def test_work_follows_from_the_sizes_of_the_values(graph: VideoGraph) -> None:
    values = execute.run(graph, moving_square()[0][:1, 0].numpy())
    assert value_shapes(graph) == {name: value.shape for name, value in values.items()}
    layers = work(graph)
    assert list(layers) == [step.name for step in graph.steps if isinstance(step, Conv | Dense)]
    for step in graph.steps:
        if isinstance(step, Conv | Dense):
            found = layers[step.name]
            assert found.macs == values[step.name].size * math.prod(step.weight.shape[1:])
            assert found.output_values == values[step.name].size
            assert found.input_values == values[step.x].size
            assert found.input_size == (tuple(values[step.x].shape[2:]) or (1, 1))


@pytest.mark.parametrize(("key_interval", "ratio"), [(1, 1), (2, 0.625), (4, 0.4375), (8, 0.34375)])
def test_residuals_of_four_bits_take_the_published_share_of_all_eight(key_interval: int, ratio: float) -> None:
    graph = segmenter()
    all_eight = bit_operations(graph, EIGHT, EIGHT, key_interval)
    found = bit_operations(graph, EIGHT, Bits(4, 4), key_interval)
    assert found.amortized / all_eight.amortized == ratio
    assert found.peak == all_eight.peak == 64 * sum(layer.macs for layer in work(graph).values())
    assert (found.state_bytes > 0) == (key_interval > 1)


def test_the_state_counts_a_value_that_two_layers_read_once() -> None:
    graph = segmenter()
    values = execute.run(graph, moving_square()[0][:1, 0].numpy())
    linear = [step for step in graph.steps if isinstance(step, Conv | Dense)]
    names = {step.x for step in linear} | {step.name for step in linear}
    expected = 4 * sum(values[name].size for name in names)
    assert bit_operations(graph, EIGHT, FLOAT, 2).state_bytes == expected


def test_float_counts_as_32_bits() -> None:
    assert Bits(4, None).product == 128
    assert FLOAT.product == 1024
    assert str(Bits(4, None)) == "4/fp32"


@pytest.mark.parametrize("bits", [0, 4, 8])
def test_tiles_of_one_width_count_as_that_width_everywhere(bits: int) -> None:
    graph = segmenter()
    network = ResQNetwork(graph, residual=Bits(4, 8), tiles=TilePolicy(tile=8))
    layers = work(graph)
    tile_bits = {
        name: torch.full((2, *(-(-side // 8) for side in layer.input_size)), bits, dtype=torch.uint8)
        for name, layer in layers.items()
    }
    macs = sum(layer.macs for layer in layers.values())
    assert tiled_bit_operations(network, tile_bits) == pytest.approx(macs * 4 * bits)
