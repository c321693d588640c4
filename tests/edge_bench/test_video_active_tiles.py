"""Shares of active tiles against the operators' own tile functions, and against a stream run by numpy."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import numpy as np
import numpy.typing as npt
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeml.core.errors import UsageError
from edgeml.edge_bench.video.active_tiles import active_share, tiled_clip
from edgeml.edge_bench.video.bench import bench_video
from edgeml.edge_bench.video.clip_samples import ClipSamples
from edgeml.edge_bench.video.figures import active_tiles, layer_activities, residual_active_tiles
from edgeml.edge_bench.video.measure import VideoSettings
from edgeml.edge_bench.video.results_json import to_json
from edgeml.edge_bench.video.results_reading import from_json
from edgeml.ops.residual.tiles import tile_maxima
from edgeml.ops.residual.windows import Windows
from tests.edge_bench.test_video_bench import SCHEMA
from tests.runtime.streaming_pair import clip, write_pair

SHAPE = (3, 30, 44)
INTERVAL = 5


def expected_share(changed: npt.NDArray[np.uint8], windows: Windows, tile: int) -> float:
    return float((tile_maxima(windows.changed(changed).astype(np.int64), tile) != 0).mean())


@given(
    seed=st.integers(0, 2**20),
    size=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    strides=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    dilations=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    pads=st.tuples(*[st.integers(0, 3)] * 4),
    tile=st.integers(1, 9),
    share=st.sampled_from([0.0, 0.01, 0.1, 1.0]),
)
@settings(max_examples=150, deadline=None)
def test_a_share_is_that_of_the_operators_own_tiles(
    seed: int,
    size: tuple[int, int],
    kernel: tuple[int, int],
    strides: tuple[int, int],
    dilations: tuple[int, int],
    pads: tuple[int, int, int, int],
    tile: int,
    share: float,
) -> None:
    windows = Windows(kernel, strides, pads, dilations)
    changed = (np.random.default_rng(seed).random((2, *size)) < share).astype(np.uint8) * 255
    try:
        windows.output_size(size)
    except ValueError:
        return
    assert active_share(changed, windows, tile) == pytest.approx(expected_share(changed, windows, tile))


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, npt.NDArray[np.float32], list[dict[str, float]]]:
    """A converted network of three convolutions, a clip, and each frame's shares by numpy alone."""
    pytest.importorskip("torch")
    from edgeml.export.video.gated import export_gated
    from edgeml.models.video.graph import Add, Conv, VideoGraph
    from edgeml.models.video.quantized import CodeConv
    from edgeml.models.video.reference import key_frame, residual_frame

    generator = np.random.default_rng(0)

    def conv(name: str, x: str, out: int, into: int, size: int, stride: int = 1, dilation: int = 1) -> Conv:
        weight = generator.standard_normal((out, into, size, size)).astype(np.float32) / np.float32(np.sqrt(into))
        pads = (dilation * (size // 2),) * 4
        bias = generator.standard_normal(out).astype(np.float32)
        strides, dilations = (stride, stride), (dilation, dilation)
        return Conv(name=name, x=x, weight=weight, bias=bias, pads=pads, strides=strides, dilations=dilations)

    network = VideoGraph(
        steps=(
            conv("first", "frame", 8, 3, 3, stride=2),
            conv("wide", "first", 8, 8, 3, dilation=2),
            conv("beside", "first", 8, 8, 1),
            Add(name="sum", a="wide", b="beside"),
            conv("classes", "sum", 4, 8, 1),
        ),
        output="classes",
        input_shape=SHAPE,
    )
    frames = clip(12, SHAPE)
    files = export_gated(
        network, frames[:3], tmp_path_factory.mktemp("net") / "net", key_interval=INTERVAL, thresholds={"wide": 24}
    )
    graph = files.graph
    convolutions = [step for step in graph.steps if isinstance(step, CodeConv)]
    shares = []
    before: dict[str, npt.NDArray[np.uint8]] = {}
    for index, frame in enumerate(frames):
        if index % INTERVAL == 0:
            now = key_frame(graph, frame[None])
            shares.append({step.name: 1.0 for step in convolutions})
        else:
            now = residual_frame(graph, frame[None], before)
            shares.append(
                {
                    step.name: expected_share(
                        now.changed[step.x],
                        Windows(step.weight.shape[2:], step.strides, step.pads, step.dilations),
                        graph.gate.tile,
                    )
                    for step in convolutions
                }
            )
        before = now.states
    return files.residual, frames, shares


@pytest.mark.torch
@pytest.mark.parametrize("plugin", ["on", "off"])
def test_a_clips_shares_are_those_of_numpy(
    converted: tuple[Path, npt.NDArray[np.float32], list[dict[str, float]]],
    monkeypatch: pytest.MonkeyPatch,
    plugin: str,
) -> None:
    if plugin == "off":
        monkeypatch.setenv("EDGEML_PLUGIN", "off")
    path, frames, expected = converted
    found = tiled_clip(path, frames, threads=1, key_interval="file", cut_detector=None)
    names = [layer.name for layer in found.layers]
    assert names == ["first", "wide", "beside", "classes"]
    macs = {layer.name: layer.macs for layer in found.layers}
    assert macs["first"] == 15 * 22 * 8 * 3 * 9
    for frame, shares in zip(found.frames, expected, strict=True):
        assert dict(zip(names, frame.shares, strict=True)) == pytest.approx(shares)
        assert frame.bit_operations == pytest.approx(sum(64 * macs[name] * shares[name] for name in names))
    assert any(0 < share < 1 for frame in found.frames for share in frame.shares)


@pytest.mark.torch
def test_a_run_counts_tiles_and_its_results_can_be_read_back(
    converted: tuple[Path, npt.NDArray[np.float32], list[dict[str, float]]],
) -> None:
    path, frames, expected = converted
    samples = ClipSamples(name="moving square", frames=frames)
    result = bench_video(path, samples, threads=1, settings=VideoSettings(launches=2, passes=1, seconds=0.1))
    stream, dense = result.contenders
    macs = {layer.name: layer.macs for layer in stream.layers}
    costs = [sum(64 * macs[name] * share for name, share in shares.items()) for shares in expected]
    assert stream.bit_operations == pytest.approx(costs)
    assert active_tiles(stream) == pytest.approx([cost / 64 / sum(macs.values()) for cost in costs])
    residual = [shares for index, shares in enumerate(expected) if index % INTERVAL]
    for activity in layer_activities(stream):
        assert activity.active_tiles == pytest.approx(np.mean([shares[activity.layer.name] for shares in residual]))
        assert activity.changed is not None
        assert activity.active_tiles is not None
        assert 0 < activity.changed <= activity.active_tiles
    mean = residual_active_tiles(stream)
    assert mean is not None
    assert 0 < mean < 1
    assert not dense.layers
    assert not active_tiles(dense)
    assert residual_active_tiles(dense) is None
    jsonschema.validate(to_json(result), SCHEMA)
    assert from_json(to_json(result)) == result


def test_a_pair_without_convolutions_in_tiles_has_no_layers(tmp_path: Path) -> None:
    path = write_pair(tmp_path, own=True)
    found = tiled_clip(path, clip(3), threads=1, key_interval=None, cut_detector=None)
    assert not found.layers
    assert not found.frames


@pytest.mark.torch
def test_a_pixel_map_of_unknown_size_is_told(
    converted: tuple[Path, npt.NDArray[np.float32], list[dict[str, float]]], tmp_path: Path
) -> None:
    path, frames, _ = converted
    for role in ("key", "residual"):
        model = onnx.load(path.with_name(f"net.{role}.onnx"))
        for value in [value for value in model.graph.output if value.name.startswith("next_state_0")]:
            model.graph.output.remove(value)
        onnx.save(model, tmp_path / f"net.{role}.onnx")
    with pytest.raises(UsageError, match=r"the size of the pixel map changed_state_0_frame is not known; convert"):
        tiled_clip(tmp_path / path.name, frames, threads=1, key_interval=None, cut_detector=None)
