from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from torch import nn

from edgeml.core.errors import EdgeMLError, UsageError
from edgeml.export.run_onnx import run_onnx
from edgeml.export.video.dense import dense_model
from edgeml.export.video.gated import METADATA_KEY, GatedFiles, export_gated, gated_model, kept_steps
from edgeml.models.video.quantize import quantize
from edgeml.models.video.quantized import CodeConv, CodeGraph, CodeResize, Gate, code_inputs
from edgeml.models.video.reference import CodeFrame, key_frame, residual_frame
from edgeml.models.video.trace import trace
from tests.models.video.networks import RANDOM_SHAPE, Shape, calibration, clip, network, random_network

Values = dict[str, np.ndarray]


class Session:
    """Stock onnxruntime: the bodies of edgeml's operators, its own kernels for 8 bits."""

    def __init__(self, model: onnx.ModelProto | Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        # Kernels that do not saturate sums of two products where the processor has no dot product of bytes.
        options.add_session_config_entry("session.x64quantprecision", "1")
        content = str(model) if isinstance(model, Path) else model.SerializeToString()
        self.session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        self.outputs = [output.name for output in self.session.get_outputs()]

    def __call__(self, feeds: Values) -> Values:
        wanted = {entry.name: feeds[entry.name] for entry in self.session.get_inputs()}
        return dict(zip(self.outputs, self.session.run(None, wanted), strict=True))


def state_names(graph: CodeGraph) -> dict[str, str]:
    return {step: f"state_{index}_{step}" for index, step in enumerate(kept_steps(graph))}


def states_of(graph: CodeGraph, codes: dict[str, np.ndarray]) -> Values:
    return {name: codes[step] for step, name in state_names(graph).items()}


def assert_frame(found: Values, expected: CodeFrame, graph: CodeGraph) -> None:
    for step, name in state_names(graph).items():
        np.testing.assert_array_equal(found[f"next_{name}"], expected.states[step], step)
    # The end of a classifier is computed in float32 by other kernels.
    np.testing.assert_allclose(found["output"], expected.output, rtol=1e-5, atol=1e-5)
    activity = [expected.changed[step].mean() for step in state_names(graph)]
    np.testing.assert_allclose(found["activity"], activity, rtol=1e-6)


def assert_clip(key: Session, residual: Session, graph: CodeGraph, shape: Shape, frames: int) -> None:
    first, *rest = clip(shape, frames)
    expected = key_frame(graph, first)
    noise = {step: np.full_like(codes, 7) for step, codes in expected.states.items()}
    found = key({"frame": first, **states_of(graph, noise)})
    assert_frame(found, expected, graph)
    for frame in rest:
        expected = residual_frame(graph, frame, expected.states)
        feeds = {name: found[f"next_{name}"] for name in state_names(graph).values()}
        found = residual({"frame": frame, **feeds})
        assert_frame(found, expected, graph)


@pytest.fixture(scope="module", params=["encoder-decoder", "bilinear", "classifier"])
def files(request: Any, tmp_path_factory: Any) -> tuple[GatedFiles, Shape]:
    module, shape = network(request.param)
    directory = tmp_path_factory.mktemp(request.param)
    return export_gated(module, calibration(shape), directory / "net", key_interval=30), shape


def test_onnxruntime_gives_the_same_codes_as_numpy_frame_after_frame(files: tuple[GatedFiles, Shape]) -> None:
    written, shape = files
    assert_clip(Session(written.key), Session(written.residual), written.graph, shape, 3)


def test_both_files_have_the_same_inputs_and_outputs(files: tuple[GatedFiles, Shape]) -> None:
    written, _ = files
    key, residual = onnx.load(written.key), onnx.load(written.residual)
    assert list(key.graph.input) == list(residual.graph.input)
    assert list(key.graph.output) == list(residual.graph.output)
    assert key.graph.input[0].name == "frame"
    assert key.graph.output[0].name == "output"
    assert key.graph.output[-1].name == "activity"
    told = {role: json.loads(model.metadata_props[0].value) for role, model in (("key", key), ("residual", residual))}
    assert key.metadata_props[0].key == METADATA_KEY
    assert told["key"] | {"role": "residual"} == told["residual"]
    assert told["key"]["role"] == "key"
    assert told["key"]["key_interval"] == 30
    assert [state["name"] for state in told["key"]["states"]] == [value.name for value in key.graph.input][1:]
    assert [state["next"] for state in told["key"]["states"]] == [value.name for value in key.graph.output][1:-1]
    assert told["key"]["gated_steps"] == list(kept_steps(written.graph))
    assert set(told["key"]["macs"]) == set(told["key"]["bits"])
    assert "TileGate" not in {node.op_type for node in key.graph.node}


def test_the_dense_file_gives_the_same_codes_as_a_key_frame_up_to_linear_upsampling(
    files: tuple[GatedFiles, Shape],
) -> None:
    written, shape = files
    graph, frame = written.graph, next(clip(shape, 1))
    expected = key_frame(graph, frame)
    different = {step.name for step in graph.steps if getattr(step, "mode", "") == "linear"}
    for step in graph.steps:
        if different.intersection(code_inputs(step)):
            different.add(step.name)
    model = onnx.load(written.dense)
    exact = [name for name in graph.gated if name not in different]
    model.graph.output.extend(onnx.ValueInfoProto(name=f"{name}/codes") for name in exact)
    found = Session(model)({"frame": frame})
    for name in exact:
        np.testing.assert_array_equal(found[f"{name}/codes"].transpose(0, 2, 3, 1), expected.states[name], name)
    plain = Session(written.dense)({"frame": frame})["output"]
    if graph.output not in different and not graph.tail:
        np.testing.assert_array_equal(plain, expected.output)
    spread = float(np.abs(expected.output).max())
    np.testing.assert_allclose(plain, expected.output, atol=0.05 * spread if different else 1e-5 * spread)


def test_onnxruntime_makes_integer_kernels_of_the_dense_file(files: tuple[GatedFiles, Shape], tmp_path: Path) -> None:
    written, _ = files
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(str(written.dense), options, providers=["CPUExecutionProvider"])
    operators = [node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node]
    convolutions = sum(isinstance(step, CodeConv) for step in written.graph.steps)
    assert operators.count("QLinearConv") == convolutions
    assert "Conv" not in operators


@given(seed=st.integers(0, 2**20), length=st.integers(2, 5), classifier=st.booleans())
@settings(max_examples=3, deadline=None, phases=[Phase.generate], suppress_health_check=[HealthCheck.too_slow])
def test_random_networks_run_in_onnxruntime_as_in_numpy(seed: int, length: int, classifier: bool) -> None:
    module = random_network(seed, length, classifier=classifier)
    graph = quantize(trace(module, RANDOM_SHAPE), calibration(RANDOM_SHAPE), method="minmax", gate=Gate(rms=True))
    models = (gated_model(graph, "key"), gated_model(graph, "residual"))
    key, residual = (Session(model) for model in models)
    assert_clip(key, residual, graph, RANDOM_SHAPE, 2)


@given(seed=st.integers(0, 2**20), length=st.integers(2, 5))
@settings(max_examples=5, deadline=None, phases=[Phase.generate], suppress_health_check=[HealthCheck.too_slow])
def test_dense_files_of_random_networks_give_nearly_the_same(seed: int, length: int) -> None:
    module = random_network(seed, length, classifier=False)
    graph = quantize(trace(module, RANDOM_SHAPE), calibration(RANDOM_SHAPE), method="minmax")
    frame = next(clip(RANDOM_SHAPE, 1))
    expected = key_frame(graph, frame).output
    found = run_onnx(dense_model(graph), {"frame": frame})["output"]
    assert np.sqrt(np.mean((found - expected) ** 2)) <= 0.05 * np.sqrt(np.mean(expected**2)) + 1e-6


def test_thresholds_are_in_the_residual_file_alone(tmp_path: Path) -> None:
    module, shape = network("encoder-decoder")
    gate = Gate(tile=4, threshold=40, rms=True)
    first = quantize(trace(module, shape), calibration(shape)).steps[0].name
    written = export_gated(module, calibration(shape), tmp_path / "net", gate=gate, thresholds={first: 33})
    assert_clip(Session(written.key), Session(written.residual), written.graph, shape, 4)

    def attributes(path: Path) -> list[dict[str, Any]]:
        return [
            {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
            for node in onnx.load(path).graph.node
            if node.op_type in {"TileGate", "ResidualConv"}
        ]

    found = attributes(written.residual)
    assert (found[0]["tile"], found[0]["threshold"], found[0]["rms"]) == (4, 40, 1)
    assert found[1]["threshold"] == 33
    assert all(each["threshold"] == 0 for each in attributes(written.key))


def test_nothing_is_written_where_the_network_cannot_be_converted(tmp_path: Path) -> None:
    frames = np.zeros((1, 3, 8, 8), np.float32)
    with pytest.raises(UsageError, match=r"^1: ConvTranspose2d is a transposed convolution"):
        export_gated(nn.Sequential(nn.ReLU(), nn.ConvTranspose2d(3, 3, 2)), frames, tmp_path / "net")
    softplus = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Softplus(), nn.Linear(4, 2))
    with pytest.raises(UsageError, match="Softplus after global pooling cannot be written"):
        export_gated(softplus, frames + 1, tmp_path / "net")
    with pytest.raises(UsageError, match="key interval 0"):
        export_gated(nn.Conv2d(3, 4, 3), frames, tmp_path / "net", key_interval=0)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(EdgeMLError, match="does not exist"):
        export_gated(nn.Conv2d(3, 4, 3), frames + 1, tmp_path / "nowhere" / "net")


@pytest.mark.parametrize("function", [nn.ReLU6, nn.Sigmoid, nn.Hardsigmoid, nn.SiLU])
def test_functions_between_linear_layers_are_written(function: type[nn.Module]) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 6), function(), nn.Linear(6, 2)
    ).eval()
    graph = quantize(trace(module, (3, 8, 8)), calibration((3, 8, 8)))
    frame = next(clip((3, 8, 8), 1))
    assert_frame(
        Session(gated_model(graph, "key"))({"frame": frame, **states_of(graph, key_frame(graph, frame).states)}),
        key_frame(graph, frame), graph,
    )  # fmt: skip


def test_nearest_upsampling_at_the_end_is_no_state(files: tuple[GatedFiles, Shape]) -> None:
    graph = files[0].graph
    left_out = [step for step in graph.steps if step.name not in kept_steps(graph)]
    assert all(isinstance(step, CodeResize) and step.mode == "nearest" for step in left_out)
    last = graph.steps[-1]
    assert len(left_out) == (isinstance(last, CodeResize) and last.mode == "nearest")
    operators = {node.op_type for node in onnx.load(files[0].residual).graph.node}
    assert ("Resize" in operators) == bool(left_out)


def test_upsampled_codes_that_others_read_stay_a_state() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.after = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 2, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = self.after(nn.functional.interpolate(self.conv(x), scale_factor=2.0))
            return found

    torch.manual_seed(0)
    graph = quantize(trace(Net().eval(), (3, 8, 8)), calibration((3, 8, 8)))
    assert kept_steps(graph) == graph.gated


def test_tiles_of_deep_layers_are_smaller_and_change_no_code_at_threshold_0(files: tuple[GatedFiles, Shape]) -> None:
    written, shape = files
    graph = written.graph
    tiles = {step.name: step.tile for step in graph.steps if isinstance(step, CodeConv)}
    by_stride = {round(shape[1] / graph.shapes[name][1]): tile for name, tile in tiles.items()}
    assert by_stride == {stride: {1: 8, 2: 8, 3: 5, 4: 4}.get(stride, 2) for stride in by_stride}
    models = (gated_model(graph, "key"), gated_model(graph, "residual"))
    key, residual = (Session(model) for model in models)
    assert_clip(key, residual, graph, shape, 3)
