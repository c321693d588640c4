"""Streams over pairs of graphs whose right results numpy knows."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest

from edgeml.core.device import Device
from edgeml.core.errors import EdgeMLError, UsageError
from edgeml.core.session import SessionOptions
from edgeml.runtime.onnx_file import open_artifact
from edgeml.runtime.plugin.fusion.load import fused_model
from edgeml.runtime.registry import get_runtime
from edgeml.runtime.streaming.aliasing import states_may_alias
from edgeml.runtime.streaming.cut_detector import SceneCutDetector
from edgeml.runtime.streaming.model import StreamingModel
from edgeml.runtime.streaming.stream import Stream
from tests.runtime.streaming_pair import HAS_RESIDUAL_OPERATORS, SCALE, clip, expected, write_pair

ONE = SessionOptions(threads=1)
PAIRS = [
    False,
    pytest.param(True, marks=pytest.mark.skipif(not HAS_RESIDUAL_OPERATORS, reason="no residual operators")),
]


@pytest.fixture(params=PAIRS, ids=["standard", "own"])
def model(request: pytest.FixtureRequest, tmp_path: Path) -> StreamingModel:
    return StreamingModel.open(write_pair(tmp_path, own=request.param), ONE)


class CutsAt:
    """A detector that knows its cuts."""

    def __init__(self, *cuts: int) -> None:
        self.cuts, self.seen = cuts, 0

    def is_cut(self, frame: npt.NDArray[np.float32]) -> bool:
        self.seen += 1
        return self.seen - 1 in self.cuts


def reasons(stream: Stream, frames: npt.NDArray[np.float32]) -> list[str | None]:
    return [stream.step(frame).statistics.reason for frame in frames]


def addresses(stream: Stream) -> list[int]:
    return [array.__array_interface__["data"][0] for array in stream.states.values()]


def test_every_frame_is_what_the_whole_network_gives(model: StreamingModel) -> None:
    stream = model.stream(key_interval=5)
    for frame in clip(12):
        np.testing.assert_array_equal(stream.step(frame).outputs["output"], expected(frame))


def test_outputs_belong_to_the_caller(model: StreamingModel) -> None:
    stream = model.stream()
    frames = clip(3)
    first = stream.step(frames[0]).outputs["output"]
    kept = first.copy()
    stream.step(frames[1])
    np.testing.assert_array_equal(first, kept)
    first[...] = -1
    np.testing.assert_array_equal(stream.step(frames[2]).outputs["output"], expected(frames[2]))


def test_key_frames_come_first_at_intervals_at_cuts_and_after_a_reset(model: StreamingModel) -> None:
    frames = clip(8)
    assert reasons(model.stream(key_interval=3), frames) == [
        "first", None, None, "interval", None, None, "interval", None,
    ]  # fmt: skip
    assert reasons(model.stream(), frames) == ["first"] + [None] * 7
    detector = CutsAt(0, 2)
    stream = model.stream(key_interval=4, cut_detector=detector)
    assert reasons(stream, frames) == ["first", None, "cut", None, None, None, "interval", None]
    assert detector.seen == len(frames)
    stream.reset()
    assert reasons(stream, frames[:2]) == ["reset", None]


def test_the_detector_that_comes_with_edgeml_finds_a_new_scene(model: StreamingModel) -> None:
    frames = np.concatenate([clip(4, seed=1), clip(4, seed=2)])
    stream = model.stream(cut_detector=SceneCutDetector())
    assert reasons(stream, frames) == ["first", None, None, None, "cut", None, None, None]


def test_the_files_own_interval_holds_unless_another_is_given(tmp_path: Path) -> None:
    model = StreamingModel.open(write_pair(tmp_path, key_interval=2), ONE)
    frames = clip(4)
    assert model.key_interval == 2
    assert reasons(model.stream(), frames) == ["first", None, "interval", None]
    assert reasons(model.stream(key_interval=None), frames) == ["first", None, None, None]
    assert reasons(model.stream(key_interval=1), frames) == ["first", "interval", "interval", "interval"]
    with pytest.raises(UsageError, match="key_interval is 0; it must be at least 1"):
        model.stream(key_interval=0)


def test_statistics_tell_shares_and_bit_operations(model: StreamingModel) -> None:
    frames = clip(1)
    frames = np.concatenate([frames, frames, frames])
    frames[2, 0, 3, 5] += 8 * SCALE  # one pixel of 384
    frames[2, 0, 3, 5] = abs(frames[2, 0, 3, 5]) + SCALE  # and its relu changes too
    frames[1, 0, 3, 5] = frames[0, 0, 3, 5] = 0
    stream = model.stream()
    key, still, moved = (stream.step(frame).statistics for frame in frames)
    assert (key.kind, still.kind, moved.kind) == ("key", "residual", "residual")
    assert key.active_share == {"gate": 1, "relu": 1}
    assert still.active_share == {"gate": 0, "relu": 0}
    assert moved.active_share == pytest.approx({"gate": 1 / 384, "relu": 1 / 384})
    assert key.bit_operations == 1000 * 64 + 10 * 1024
    assert still.bit_operations == 10 * 1024
    assert moved.bit_operations == pytest.approx(1000 * 64 / 384 + 10 * 1024)
    assert all(each.time_s > 0 for each in (key, still, moved))


def test_states_that_standard_operators_update_change_places(tmp_path: Path) -> None:
    model = StreamingModel.open(write_pair(tmp_path), ONE)
    assert not model.in_place
    assert model.native_kernel is None
    assert model.stream_bytes == 2 * 2 * (2 * 16 * 24)
    stream, seen = model.stream(), []
    for frame in clip(5):
        stream.step(frame)
        seen.append(addresses(stream))
    assert seen[0] == seen[2] == seen[4]
    assert seen[1] == seen[3]
    assert not set(seen[0]) & set(seen[1])


@pytest.fixture
def native(tmp_path: Path) -> StreamingModel:
    """A model whose operators all run by native kernels."""
    if not HAS_RESIDUAL_OPERATORS:
        pytest.skip("no residual operators")
    model = StreamingModel.open(write_pair(tmp_path, own=True), ONE)
    if model.native_kernel is None:
        pytest.skip("the native kernels of the residual operators are not there")
    return model


def test_native_kernels_update_states_where_they_lie(native: StreamingModel, monkeypatch: pytest.MonkeyPatch) -> None:
    assert native.in_place
    assert native.stream_bytes == 2 * (2 * 16 * 24)
    bound: list[tuple[int, ...]] = []
    run = type(native.key.session).run_with_iobinding

    def spy(session: object, binding: Any, options: object = None) -> None:
        run(session, binding, options)
        # What onnxruntime holds as its outputs, after the run: the states' successors came first.
        made = {value.data_ptr() for value in binding.get_outputs()}
        bound.append(tuple(address for address in addresses(stream) if address in made))

    monkeypatch.setattr(type(native.key.session), "run_with_iobinding", spy)
    stream, seen = native.stream(key_interval=3), []
    states = list(stream.states.values())
    for frame in clip(7):
        before = [state.copy() for state in states]
        stream.step(frame)
        seen.append(addresses(stream))
        assert any(not np.array_equal(state, old) for state, old in zip(states, before, strict=True))
    assert all(each == seen[0] for each in seen)
    assert bound == [tuple(seen[0])] * 7


def test_in_place_and_with_two_sets_the_states_are_the_same(native: StreamingModel) -> None:
    in_place = native.stream(key_interval=6)
    native.in_place = False
    swapped = native.stream(key_interval=6)
    for frame in clip(15):
        one, other = in_place.step(frame), swapped.step(frame)
        np.testing.assert_array_equal(one.outputs["output"], other.outputs["output"])
        assert one.statistics.active_share == other.statistics.active_share
        for state, twin in zip(in_place.states.values(), swapped.states.values(), strict=True):
            np.testing.assert_array_equal(state, twin)
            assert not np.shares_memory(state, twin)


def test_without_the_plugin_operators_run_by_their_bodies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not HAS_RESIDUAL_OPERATORS:
        pytest.skip("no residual operators")
    monkeypatch.setenv("EDGEML_PLUGIN", "off")
    model = StreamingModel.open(write_pair(tmp_path, own=True), ONE)
    assert model.native_kernel is None
    assert not model.in_place
    stream = model.stream()
    for frame in clip(4):
        np.testing.assert_array_equal(stream.step(frame).outputs["output"], expected(frame))


def test_states_of_standard_operators_may_not_alias(tmp_path: Path) -> None:
    path = write_pair(tmp_path)
    states = StreamingModel.open(path, ONE).states
    assert not states_may_alias(onnx.load(path).graph, states)
    assert states_may_alias(onnx.load(tmp_path / "net.key.onnx").graph, states)  # which reads no state


@pytest.mark.skipif(not HAS_RESIDUAL_OPERATORS, reason="no residual operators")
def test_a_state_that_another_node_reads_may_not_alias(tmp_path: Path) -> None:
    path = write_pair(tmp_path, own=True)
    states, graph = StreamingModel.open(path, ONE).states, onnx.load(path).graph
    assert states_may_alias(graph, states)
    graph.node.add(op_type="Identity", input=["state_1_relu"], output=["copy"])
    assert not states_may_alias(graph, states)


def test_several_streams_run_at_once(model: StreamingModel) -> None:
    def run(seed: int) -> bool:
        stream = model.stream(key_interval=7)
        frames = clip(40, seed=seed)
        return all(np.array_equal(stream.step(frame).outputs["output"], expected(frame)) for frame in frames)

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(run, range(8)))


def test_a_frame_of_another_size_is_refused_and_a_model_for_it_takes_over(tmp_path: Path) -> None:
    (tmp_path / "large").mkdir()
    small = StreamingModel.open(write_pair(tmp_path), ONE)
    large = StreamingModel.open(write_pair(tmp_path / "large", shape=(2, 32, 40)), ONE)
    stream = small.stream()
    reasons(stream, clip(2))
    frames = clip(2, (2, 32, 40))
    with pytest.raises(UsageError, match=r"shape \(2, 32, 40\); net takes .* \(2, 16, 24\): convert"):
        stream.step(frames[0])
    with pytest.raises(UsageError, match=r"float64; net takes float32"):
        stream.step(clip(1)[0].astype(np.float64))
    stream.reset(large)
    for frame, reason in zip(frames, ("reset", None), strict=True):
        result = stream.step(frame)
        assert result.statistics.reason == reason
        np.testing.assert_array_equal(result.outputs["output"], expected(frame))


def test_frames_need_not_be_contiguous(model: StreamingModel) -> None:
    frame = clip(1)[0]
    turned = np.ascontiguousarray(frame.transpose(1, 2, 0)).transpose(2, 0, 1)
    np.testing.assert_array_equal(model.stream().step(turned).outputs["output"], expected(frame))


def test_a_closed_model_gives_no_frames(model: StreamingModel) -> None:
    stream = model.stream()
    model.close()
    with pytest.raises(EdgeMLError, match="the network net is closed"):
        stream.step(clip(1)[0])


def test_after_a_failed_run_comes_a_key_frame(model: StreamingModel, monkeypatch: pytest.MonkeyPatch) -> None:
    stream, frames = model.stream(), clip(4)
    stream.step(frames[0])

    def fail(*_: object) -> None:
        raise RuntimeError("no\nmore")

    with monkeypatch.context() as patch:
        patch.setattr("edgeml.runtime.streaming.buffers.StateBuffers.run", fail)
        with pytest.raises(EdgeMLError, match=r"failed to run .*residual\.onnx: no more"):
            stream.step(frames[1])
    result = stream.step(frames[2])
    assert result.statistics.reason == "reset"
    np.testing.assert_array_equal(result.outputs["output"], expected(frames[2]))


@pytest.mark.parametrize("own", PAIRS)
def test_the_files_are_models_like_any_other(tmp_path: Path, own: bool) -> None:
    path = write_pair(tmp_path, own=own)
    assert fused_model(path) is None
    artifact = open_artifact(path)
    session = get_runtime("onnxruntime").open(artifact, Device("local"), ONE)
    feeds = {spec.name: np.zeros(spec.with_batch(1), spec.dtype) for spec in session.inputs}
    assert set(session.run(feeds)) == {"output", "next_state_0_gate", "next_state_1_relu", "activity"}
