"""Streams of converted networks against plain onnxruntime, which is handed the states by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest

from edgeml.core.session import SessionOptions
from edgeml.models.video.graph import Add, Conv, Pool, VideoGraph
from edgeml.runtime.streaming.cut_detector import SceneCutDetector
from edgeml.runtime.streaming.model import StreamingModel
from tests.runtime.streaming_pair import clip

SHAPE = (3, 32, 48)

pytestmark = pytest.mark.torch


def network() -> VideoGraph:
    """Three convolutions of which one has a shortcut, and a pooling."""
    generator = np.random.default_rng(0)

    def conv(name: str, x: str, out: int, into: int, size: int, **attributes: Any) -> Conv:
        weight = generator.standard_normal((out, into, size, size)).astype(np.float32) / np.sqrt(into * size * size)
        bias = generator.standard_normal(out).astype(np.float32) / 8
        pads = (size // 2,) * 4
        return Conv(name=name, x=x, weight=weight.astype(np.float32), bias=bias, pads=pads, **attributes)  # type: ignore[arg-type]

    return VideoGraph(
        steps=(
            conv("first", "frame", 8, 3, 3, strides=(2, 2)),
            conv("second", "first", 8, 8, 3),
            Add(name="sum", a="first", b="second"),
            Pool(name="pooled", x="sum", mode="max", kernel_shape=(2, 2), strides=(2, 2)),
            conv("classes", "pooled", 4, 8, 1),
        ),
        output="classes",
        input_shape=SHAPE,
    )


def by_hand(
    path: Path, model: StreamingModel, frames: npt.NDArray[np.float32], interval: int
) -> list[npt.NDArray[np.float32]]:
    """Outputs of each frame by onnxruntime alone, without the plugin."""
    sessions = [
        onnxruntime.InferenceSession(path.with_name(f"net.{role}.onnx"), providers=["CPUExecutionProvider"])
        for role in ("key", "residual")
    ]
    names = [value.name for value in sessions[0].get_outputs()]
    states = {value.name: np.zeros(value.shape, _dtype(value)) for value in sessions[0].get_inputs()[1:]}
    found = []
    for index, frame in enumerate(frames):
        made = dict(
            zip(names, sessions[index % interval != 0].run(None, {"frame": frame[None], **states}), strict=True)
        )
        states = {state.name: made[state.next] for state in model.states}
        found.append(made["output"])
    return found


def _dtype(value: Any) -> type[np.generic]:
    return np.uint8 if value.type == "tensor(uint8)" else np.float32


def test_a_gated_stream_is_the_dense_network_bit_for_bit(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from edgeml.export.video.gated import export_gated

    frames = clip(12, SHAPE)
    files = export_gated(network(), frames[:3], tmp_path / "net")
    model = StreamingModel.open(files.residual, SessionOptions(threads=1))
    dense = onnxruntime.InferenceSession(files.dense, providers=["CPUExecutionProvider"])
    stream = model.stream(key_interval=5)
    expected = by_hand(files.residual, model, frames, 5)
    for index, frame in enumerate(frames):
        result = stream.step(frame)
        found = result.outputs["output"]
        np.testing.assert_array_equal(found, dense.run(None, {"frame": frame[None]})[0])
        np.testing.assert_array_equal(found, expected[index])
        if result.statistics.kind == "residual":
            assert max(result.statistics.active_share.values()) < 1
            assert result.statistics.bit_operations < 64 * model.macs
        else:
            assert result.statistics.bit_operations == 64 * model.macs


def test_a_resq_stream_hands_the_key_frames_states_on(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    import onnx

    from edgeml.export.video.resq import resq_models
    from edgeml.models.video.resq.bits import Bits
    from edgeml.models.video.resq.calibration import calibrate
    from edgeml.models.video.resq.network import ResQNetwork

    frames = clip(9, SHAPE)
    built = ResQNetwork(network(), key=Bits(8, 8), residual=Bits(4, 4))
    calibrate(built, torch.from_numpy(frames[None, :8]), 4)
    models = resq_models(built, key_interval=4)
    onnx.save(models.key, tmp_path / "net.key.onnx")
    onnx.save(models.residual, tmp_path / "net.residual.onnx")
    model = StreamingModel.open(tmp_path / "net.residual.onnx", SessionOptions(threads=1))
    assert model.mode == "resq"
    assert not model.in_place
    stream = model.stream()
    for frame, expected in zip(frames, by_hand(tmp_path / "net.residual.onnx", model, frames, 4), strict=True):
        result = stream.step(frame)
        np.testing.assert_allclose(result.outputs["output"], expected, rtol=1e-5, atol=1e-6)
        bits = 64 if result.statistics.kind == "key" else 16
        assert result.statistics.bit_operations == bits * model.macs


def test_at_a_cut_a_coarse_gate_gives_the_whole_network_s_result_on_that_very_frame(tmp_path: Path) -> None:
    """Two scenes in a row, behind a gate that lets much stand: only the frame of the cut is exact again."""
    from edgeml.export.video.gated import export_gated
    from edgeml.models.video.clips.generated import SceneSettings, generated_clip
    from edgeml.models.video.quantized import Gate

    scenes = [
        frame.pixels.transpose(2, 0, 1).astype(np.float32) / 255
        for seed in (0, 1)
        for frame in generated_clip(SceneSettings(seed=seed, height=32, width=48, length=8))
    ]
    frames = np.stack(scenes).astype(np.float32)
    files = export_gated(network(), frames, tmp_path / "net", gate=Gate(threshold=16 * 40))
    dense = onnxruntime.InferenceSession(files.dense, providers=["CPUExecutionProvider"])
    stream = StreamingModel.open(files.residual, SessionOptions(threads=1)).stream(cut_detector=SceneCutDetector())
    results = [stream.step(frame) for frame in frames]
    assert [index for index, each in enumerate(results) if each.statistics.reason == "cut"] == [8]
    whole = [dense.run(None, {"frame": frame[None]})[0] for frame in frames]
    exact = [np.array_equal(each.outputs["output"], out) for each, out in zip(results, whole, strict=True)]
    assert [index for index, same in enumerate(exact) if same] == [0, 8]
