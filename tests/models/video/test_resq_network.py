"""Key and residual frames against the float graph and against the formulas written out for one layer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from edgeml.core.errors import EdgeMLError, UsageError
from edgeml.models.video import execute
from edgeml.models.video.graph import Conv, VideoGraph
from edgeml.models.video.resq.bits import EIGHT, FLOAT, Bits, TilePolicy
from edgeml.models.video.resq.calibration import calibrate
from edgeml.models.video.resq.network import ResQNetwork
from tests.models.video.resq_graphs import classifier, moving_square, segmenter

pytestmark = pytest.mark.torch


@pytest.mark.parametrize("graph", [segmenter(), classifier()], ids=["segmenter", "classifier"])
@pytest.mark.parametrize("key_interval", [1, 3, 8])
def test_float_residuals_give_what_frame_by_frame_gives(graph: VideoGraph, key_interval: int) -> None:
    clips, _ = moving_square(step=3)
    network = ResQNetwork(graph, key=FLOAT, residual=FLOAT)
    with torch.no_grad():
        found = network(clips, key_interval).numpy()
    for time in range(clips.shape[1]):
        expected = execute.run(graph, clips[:, time].numpy())[graph.output]
        np.testing.assert_allclose(found[:, time], expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


def test_frame_by_frame_rounds_weights_and_activations() -> None:
    graph = _one_convolution()
    clips, _ = moving_square(clips=2, times=2)
    network = ResQNetwork(graph, key=Bits(3, 5), residual=FLOAT)
    calibrate(network, clips, 1)
    layer = network.layer("stem")
    assert layer.key_activation is not None
    assert layer.key_weight is not None
    with torch.no_grad():
        frame = clips[:, 1]
        expected = F.conv2d(layer.key_activation(frame), layer.key_weight(layer.weight), layer.bias, padding=1)
        assert torch.equal(network.key_frame(frame)[0], expected)
    for rounded, count in ((layer.key_activation(frame), 2**5), (layer.key_weight(layer.weight)[0], 2**3)):
        assert len(np.unique(rounded.detach())) <= count


def test_residuals_are_taken_against_the_key_frame_and_leave_it_as_it_is() -> None:
    graph = _one_convolution()
    clips, _ = moving_square(clips=2, times=4)
    network = ResQNetwork(graph, residual=Bits(4, 4))
    calibrate(network, clips, 4)
    layer = network.layer("stem")
    assert layer.residual_activation is not None
    assert layer.residual_weight is not None
    with torch.no_grad():
        found = network(clips, 4)
        z0, _ = network.key_frame(clips[:, 0])
        for time in (1, 2, 3):
            residual = layer.residual_activation(clips[:, time] - clips[:, 0])
            expected = z0 + F.conv2d(residual, layer.residual_weight(layer.weight), padding=1)
            assert torch.equal(found[:, time], expected)


@pytest.mark.parametrize("residual", [Bits(2, 2), Bits(4, 4), Bits(8, 4), Bits(None, 3), Bits(3, None)])
def test_where_nothing_moves_residual_frames_are_the_key_frame(residual: Bits) -> None:
    graph = segmenter()
    clips, _ = moving_square(step=0)
    moving, _ = moving_square()
    network = ResQNetwork(graph, residual=residual)
    calibrate(network, moving, 4)
    with torch.no_grad():
        found = network(clips, 8)
    assert torch.equal(found, found[:, :1].expand_as(found))


def test_more_bits_in_the_residual_are_nearer_to_float() -> None:
    graph = segmenter()
    clips, _ = moving_square()
    with torch.no_grad():
        exact = ResQNetwork(graph, key=FLOAT, residual=FLOAT)(clips, 1)
    errors = []
    for bits in (2, 3, 4, 6, 8):
        network = ResQNetwork(graph, key=EIGHT, residual=Bits(bits, bits))
        calibrate(network, clips, 4)
        with torch.no_grad():
            errors.append(float((network(clips, 4) - exact).square().mean()))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < errors[0] / 100


def test_tiles_that_lose_nothing_equal_eight_bits_of_the_same_step() -> None:
    graph = _one_convolution()
    clips, _ = moving_square(clips=2, times=3)
    network = ResQNetwork(graph, residual=EIGHT, tiles=TilePolicy(tile=4, step=2, tolerance=0.5))
    calibrate(network, clips, 3)
    layer = network.layer("stem")
    assert layer.key_activation is not None
    assert layer.residual_weight is not None
    tile_bits: dict[str, torch.Tensor] = {}
    with torch.no_grad():
        z0, state = network.key_frame(clips[:, 0])
        found = network.residual_frame(clips[:, 2], state, tile_bits)
        step = 2 * layer.key_activation.scale
        rounded = ((clips[:, 2] - clips[:, 0]) / step).round().clamp(-127, 127) * step
        expected = z0 + F.conv2d(rounded, layer.residual_weight(layer.weight), padding=1)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    bits = tile_bits["stem"]
    assert bits.shape == (2, 4, 6)
    assert set(bits.flatten().tolist()) <= {0, 4, 8}
    assert 0 in bits


def test_a_network_that_is_not_calibrated_says_so() -> None:
    network = ResQNetwork(segmenter())
    with pytest.raises(EdgeMLError, match="calibrate"):
        network.key_frame(moving_square()[0][:, 0])


def test_calibrated_frame_by_frame_only_it_knows_no_residuals() -> None:
    clips, _ = moving_square()
    network = ResQNetwork(segmenter())
    calibrate(network, clips, 1)
    with pytest.raises(EdgeMLError, match="residual, 4 bits"):
        network(clips, 2)


@pytest.mark.parametrize("shape", [(2, 4, 1, 16, 24), (4, 3, 16, 24), (0, 4, 3, 16, 24), (2, 1, 3, 16, 24)])
def test_clips_that_do_not_fit_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="clips"):
        calibrate(ResQNetwork(segmenter()), torch.zeros(shape), 2)


def test_an_interval_of_no_frames_is_refused() -> None:
    with pytest.raises(UsageError, match="interval"):
        ResQNetwork(classifier(), key=FLOAT, residual=FLOAT)(moving_square()[0], 0)


def test_tiles_want_eight_bits() -> None:
    with pytest.raises(UsageError, match="tiles"):
        ResQNetwork(segmenter(), residual=Bits(4, 4), tiles=TilePolicy())


def _one_convolution() -> VideoGraph:
    stem = segmenter().steps[0]
    assert isinstance(stem, Conv)
    return VideoGraph(steps=(stem,), output="stem", input_shape=segmenter().input_shape)
