"""Both files of a ResQ network in plain onnxruntime against torch."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgeml.core.errors import EdgeMLError, UsageError
from edgeml.export.run_onnx import run_onnx
from edgeml.export.video.resq import ResQModels, export_resq, resq_models
from edgeml.models.video import execute
from edgeml.models.video.graph import Conv, Pointwise, VideoGraph
from edgeml.models.video.resq.bits import EIGHT, FLOAT, Bits, TilePolicy
from edgeml.models.video.resq.calibration import calibrate
from edgeml.models.video.resq.network import ResQNetwork
from tests.models.video.resq_graphs import classifier, moving_square, segmenter

pytestmark = pytest.mark.torch

T = 4
GRAPHS = pytest.mark.parametrize("graph", [segmenter(), classifier()], ids=["segmenter", "classifier"])


def calibrated(graph: VideoGraph, key: Bits, residual: Bits) -> ResQNetwork:
    network = ResQNetwork(graph, key=key, residual=residual)
    calibrate(network, moving_square()[0], T)
    return network


def stream(models: ResQModels, frames: Tensor, *, optimize: bool = True) -> npt.NDArray[np.float32]:
    """Results for one clip, float32 (time, ...), states handed on as a stream does."""
    shapes = {
        value.name: [axis.dim_value for axis in value.type.tensor_type.shape.dim] for value in models.key.graph.input
    }
    states = {name: np.zeros(shape, np.float32) for name, shape in shapes.items() if name != "frame"}
    results = []
    for time, frame in enumerate(frames.numpy()):
        model = models.residual if time % T else models.key
        found = run_onnx(model, {"frame": frame[None], **states}, optimize=optimize)
        states = {name: found[f"next_{name}"] for name in states}
        results.append(found["output"][0])
    return np.stack(results)


@GRAPHS
@pytest.mark.parametrize("optimize", [False, True])
@pytest.mark.parametrize(
    "bits", [(EIGHT, Bits(4, 4)), (EIGHT, EIGHT), (Bits(5, 6), Bits(2, 3)), (EIGHT, FLOAT)], ids=str
)
def test_onnxruntime_gives_what_torch_gives(graph: VideoGraph, bits: tuple[Bits, Bits], optimize: bool) -> None:
    network = calibrated(graph, *bits)
    frames = moving_square(step=2)[0][0]
    found = stream(resq_models(network, T), frames, optimize=optimize)
    with torch.no_grad():
        expected = network(frames[None], T)[0].numpy()
    assert np.linalg.norm(found - expected) <= 1e-5 * np.linalg.norm(expected)


@pytest.mark.parametrize("bits", [(EIGHT, Bits(4, 4)), (EIGHT, Bits(8, 8)), (Bits(3, 4), Bits(2, 2))], ids=str)
def test_where_all_numbers_are_dyadic_the_two_are_equal_to_the_bit(bits: tuple[Bits, Bits]) -> None:
    # Sums of a layer's products are then exact in float32, in any order, and no rounding can fall otherwise.
    graph = _dyadic()
    network = calibrated(graph, *bits)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("log2_scale"):
                parameter.round_()
            elif name.endswith("bias"):
                parameter.copy_((parameter * 16).round() / 16)
    frames = (moving_square(step=2)[0][1] * 64).round() / 64
    found = stream(resq_models(network, T), frames)
    with torch.no_grad():
        np.testing.assert_array_equal(found, network(frames[None], T)[0].numpy())


@GRAPHS
def test_float_residuals_equal_the_float_graph_frame_by_frame(graph: VideoGraph) -> None:
    frames = moving_square(step=3)[0][0]
    found = stream(resq_models(ResQNetwork(graph, key=FLOAT, residual=FLOAT), T), frames)
    expected = execute.run(graph, frames.numpy())[graph.output]
    assert np.linalg.norm(found - expected) <= 1e-5 * np.linalg.norm(expected)


def test_the_files_are_a_pair_that_a_stream_opens(tmp_path: Path) -> None:
    from edgeml.runtime.streaming.model import StreamingModel

    network = calibrated(segmenter(), EIGHT, Bits(4, 4))
    files = export_resq(network, tmp_path / "net", key_interval=T)
    assert sorted(tmp_path.iterdir()) == [files.key, files.residual]
    frames = moving_square(step=2)[0][0]
    results = StreamingModel.open(files.residual).stream()
    with torch.no_grad():
        expected = network(frames[None], T)[0].numpy()
    for time, frame in enumerate(frames.numpy()):
        (found,) = results.step(frame).outputs.values()
        np.testing.assert_allclose(found[0], expected[time], atol=1e-4 * np.abs(expected).max())


def test_the_files_say_what_they_are() -> None:
    models = resq_models(calibrated(segmenter(), EIGHT, Bits(4, 2)), None)
    for role, model, bits in (("key", models.key, [8, 8]), ("residual", models.residual, [4, 2])):
        onnx.checker.check_model(model, full_check=True)
        assert {entry.domain for entry in model.opset_import} == {""}
        metadata = _metadata(model)
        assert (metadata["mode"], metadata["role"], metadata["key_interval"]) == ("resq", role, None)
        assert metadata["bits"]["stem"] == bits
        assert metadata["macs"]["stem"] == 16 * 24 * 8 * 27
        inputs = [value.name for value in model.graph.input]
        outputs = [value.name for value in model.graph.output]
        assert inputs == ["frame", *(state["name"] for state in metadata["states"])]
        assert outputs == ["output", *(state["next"] for state in metadata["states"])]
        assert len({state["step"] for state in metadata["states"]}) == len(metadata["states"])
    assert models.key.graph.input == models.residual.graph.input
    assert models.key.graph.output == models.residual.graph.output
    assert {entry.name: entry for entry in models.key.graph.initializer}["stem/value/weight_codes"].data_type == 3


def test_residual_codes_stay_within_their_bits() -> None:
    from edgeml.export.run_onnx import run_values

    network = calibrated(segmenter(), EIGHT, Bits(4, 4))
    models = resq_models(network, T)
    first, second = (moving_square(step=5)[0][:1, time].numpy() for time in (0, 3))
    states = {value.name: np.zeros([axis.dim_value for axis in value.type.tensor_type.shape.dim], np.float32)
              for value in models.key.graph.input if value.name != "frame"}  # fmt: skip
    made = run_onnx(models.key, {"frame": first, **states})
    feeds = {"frame": 3 * second, **{name: made[f"next_{name}"] for name in states}}
    codes = {name: value for name, value in run_values(models.residual, feeds).items() if name.endswith("/codes")}
    assert len(codes) == sum(1 for _ in network.layers())
    assert {value.dtype for value in codes.values()} == {np.dtype(np.int8)}
    assert max(np.abs(value.astype(int)).max() for value in codes.values()) == 7


@pytest.mark.parametrize(
    ("operator", "function"),
    [
        ("ReLU", nn.ReLU()), ("relu6", F.relu6), ("Hardtanh", nn.Hardtanh(-0.5, 2)),
        ("clamp", lambda x: torch.clamp(x, -1, 3)), ("clamp_min", lambda x: torch.clamp_min(x, -1)),
        ("LeakyReLU", nn.LeakyReLU(0.2)), ("PReLU", nn.PReLU()), ("sigmoid", torch.sigmoid), ("tanh", torch.tanh),
        ("hardsigmoid", F.hardsigmoid), ("Hardswish", nn.Hardswish()), ("SiLU", nn.SiLU()), ("ELU", nn.ELU(0.7)),
        ("CELU", nn.CELU(1.5)), ("selu", F.selu), ("gelu", F.gelu), ("GELU", nn.GELU("tanh")),
        ("Softplus", nn.Softplus()), ("softsign", F.softsign), ("mish", F.mish), ("logsigmoid", F.logsigmoid),
        ("abs", torch.abs), ("neg", torch.neg),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)  # fmt: skip
def test_every_function_has_a_form(operator: str, function: Callable[[Tensor], Tensor]) -> None:
    graph = _with_function(operator, function)
    frames = 8 * moving_square(clips=1)[0][0]
    found = stream(resq_models(ResQNetwork(graph, key=FLOAT, residual=FLOAT), T), frames)
    expected = execute.run(graph, frames.numpy())[graph.output]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_a_function_that_is_not_what_its_word_says_is_refused() -> None:
    graph = _with_function("softplus", lambda x: F.softplus(x, beta=2))
    with pytest.raises(UsageError, match="act: softplus has no form"):
        resq_models(ResQNetwork(graph, key=FLOAT, residual=FLOAT), T)


def test_what_cannot_be_written_is_refused() -> None:
    with pytest.raises(UsageError, match="tiles"):
        resq_models(ResQNetwork(segmenter(), residual=EIGHT, tiles=TilePolicy()), T)
    with pytest.raises(UsageError, match="interval"):
        resq_models(calibrated(segmenter(), EIGHT, Bits(4, 4)), 0)
    with pytest.raises(UsageError, match="names no file"):
        export_resq(calibrated(segmenter(), EIGHT, Bits(4, 4)), Path("/"))
    with pytest.raises(EdgeMLError, match="calibrate"):
        resq_models(ResQNetwork(segmenter()), T)


def _with_function(operator: str, function: Callable[[Tensor], Tensor]) -> VideoGraph:
    stem, second = (step for step in segmenter().steps[:3] if isinstance(step, Conv))
    act = Pointwise(name="act", x="stem", operator=operator, function=function)
    last = Conv(name="last", x="act", weight=second.weight, bias=second.bias, pads=(1, 1, 1, 1))
    return VideoGraph(steps=(stem, act, last), output="last", input_shape=segmenter().input_shape)


def _dyadic() -> VideoGraph:
    """The first steps of the segmenter, which give dyadic numbers where they get them."""
    steps = segmenter().steps
    kept = [step for step in steps if step.name in {"stem", "stem.act", "down"}]
    down = kept[-1]
    assert isinstance(down, Conv)
    relu = Pointwise(name="relu", x="down", operator="relu", function=F.relu)
    weight = np.concatenate([down.weight, down.weight[:, :4]], 1)
    deep = Conv(name="deep", x="relu", weight=weight, bias=down.bias)
    return VideoGraph(steps=(*kept, relu, deep), output="deep", input_shape=segmenter().input_shape)


def _metadata(model: onnx.ModelProto) -> Any:
    (entry,) = (entry.value for entry in model.metadata_props if entry.key == "edgeml.video")
    return json.loads(entry)
