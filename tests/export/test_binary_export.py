from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

import edgeml.export.export as stage
from edgeml.core.artifact import load_manifest
from edgeml.core.errors import CheckFailedError, UsageError
from edgeml.core.parity import ParityReport
from edgeml.core.samples import Samples
from edgeml.export.check import check
from edgeml.export.clean import clean, to_bytes
from edgeml.export.parity import FP32_RELATIVE, generated_inputs, parity_with
from edgeml.export.references import onnx_reference, torch_reference
from edgeml.export.run_onnx import run_onnx
from edgeml.export.to_onnx import evaluation
from edgeml.models.network import Network
from edgeml.ops.domain import DOMAIN
from edgeml.runtime.onnx_file import open_artifact
from tests.conftest import WriteConvNet
from tests.export.binary_network import BINARY_LAYERS, SHAPE, WIDTH, binary_network

if TYPE_CHECKING:
    import onnx

pytestmark = pytest.mark.torch


@dataclass(frozen=True)
class Exported:
    network: Network
    path: Path
    result: stage.ExportResult

    def model(self) -> onnx.ModelProto:
        import onnx

        return onnx.load(self.path)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    network = binary_network()
    path = tmp_path_factory.mktemp("binary") / "m.onnx"
    return Exported(network, path, stage.export(network, path))


@pytest.fixture
def in_evaluation(exported: Exported) -> Iterator[Exported]:
    with evaluation(exported.network.module):
        yield exported


def calibration() -> Samples:
    inputs = np.random.default_rng(1).standard_normal((32, *SHAPE)).astype(np.float32)
    return Samples("noise:train", inputs, np.zeros(32, np.int64), ())


def change(model: onnx.ModelProto, name: str, factor: float) -> onnx.ModelProto:
    from onnx import numpy_helper

    tensor = next(entry for entry in model.graph.initializer if entry.name == name)
    values = numpy_helper.to_array(tensor) * np.float32(factor)
    tensor.CopyFrom(numpy_helper.from_array(values, name))
    return model


def binary_nodes(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    return [node for node in model.graph.node if node.domain == DOMAIN]


def test_every_binary_layer_is_one_node_with_its_norm_folded_in(exported: Exported) -> None:
    model = exported.model()
    assert [node.op_type for node in binary_nodes(model)] == ["BinaryConv", "BinaryConv", "BinaryDense"]
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}
    assert {function.name for function in model.functions} == {"BinaryConv", "BinaryDense"}


def test_the_manifest_counts_bits_and_bytes(exported: Exported) -> None:
    artifact = load_manifest(exported.path)
    assert artifact is not None
    storage = artifact.binary
    assert storage is not None
    weights = 2 * WIDTH * WIDTH * 9 + 32 * WIDTH
    assert (storage.layers, storage.weight_bits) == (3, weights)
    assert storage.float32_bytes == 4 * (weights + 2 * WIDTH + 32)
    # Packed weights, and threshold, scale and bias in float32; names and attributes come on top.
    constants = weights // 8 + 4 * (2 * 3 * WIDTH + WIDTH + 32 + 32)
    assert constants < storage.file_bytes < constants + 1500
    assert storage.file_bytes + storage.body_bytes < artifact.size_bytes


def test_parity_is_told_with_signs_held_and_without(exported: Exported) -> None:
    report = exported.result.parity
    assert [entry.batch for entry in report.binary] == [1, 2, 8]
    assert all(entry.layers == 3 and entry.passed and entry.worst_layer in BINARY_LAYERS for entry in report.binary)
    assert report.binary[0].agreement is not None
    assert ParityReport.from_json(json.loads(json.dumps(report.to_json()))) == report


def test_signs_that_turn_on_the_last_digits_fail_nothing(in_evaluation: Exported) -> None:
    import torch
    from onnx import numpy_helper

    # Thresholds one step above values that the network computes: the last digit decides these signs.
    module, model = copy.deepcopy(in_evaluation.network.module), in_evaluation.model()
    inputs = generated_inputs(model)[-1]
    layer = module.get_submodule("dense")
    seen: list[torch.Tensor] = []
    with torch.no_grad(), layer.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0])):
        module(torch.from_numpy(inputs))
    steps = torch.nextafter(seen[0][3], torch.tensor(torch.inf))
    layer.get_parameter("threshold").data.copy_(steps)
    name = binary_nodes(model)[2].input[2]
    tensor = next(entry for entry in model.graph.initializer if entry.name == name)
    tensor.CopyFrom(numpy_helper.from_array(steps.numpy(), name))
    change(model, "stem.weight", 1 + 1e-6)
    reference = torch_reference(module)
    report = parity_with("network", reference, model)
    assert report.passed
    assert report.binary[-1].flipped_signs > 0
    # Unheld, the same file is far beyond the tolerance: that is what holding the signs is for.
    expected = reference(inputs, ()).outputs[0]
    (found,) = run_onnx(model, {"input": inputs}).values()
    assert np.abs(found - expected).max() > 10 * FP32_RELATIVE * np.abs(expected).max()


def test_a_wrong_scale_is_found_and_its_layer_named(exported: Exported, tmp_path: Path) -> None:
    model = exported.model()
    change(model, binary_nodes(model)[1].input[3], 1.01)
    (tmp_path / "m.onnx").write_bytes(to_bytes(model))
    report = check(open_artifact(tmp_path / "m.onnx"), exported.network)
    assert not report.passed
    assert report.first_difference is not None
    assert report.first_difference.layer == "blocks.1.conv with blocks.1.norm"


def test_one_wrong_bit_is_found_and_its_layer_named(exported: Exported, tmp_path: Path) -> None:
    from onnx import numpy_helper

    model = exported.model()
    weight = binary_nodes(model)[0].input[1]
    tensor = next(entry for entry in model.graph.initializer if entry.name == weight)
    values = numpy_helper.to_array(tensor).copy()
    values[3, 5] ^= 16
    tensor.CopyFrom(numpy_helper.from_array(values, weight))
    (tmp_path / "m.onnx").write_bytes(to_bytes(model))
    for reference in (exported.network, exported.path):
        report = check(open_artifact(tmp_path / "m.onnx"), reference)
        assert not report.passed
        assert report.first_difference is not None
        assert report.first_difference.op_type == "BinaryConv"
        assert report.first_difference.where[1] == 3


def test_a_wrong_threshold_is_found_at_the_layer_that_reads_it(exported: Exported, tmp_path: Path) -> None:
    model = exported.model()
    change(model, binary_nodes(model)[1].input[2], 1.5)
    (tmp_path / "m.onnx").write_bytes(to_bytes(model))
    report = check(open_artifact(tmp_path / "m.onnx"), exported.network)
    assert not report.passed
    assert report.first_difference is not None
    assert report.first_difference.layer == "what blocks.1.conv reads"


def test_an_inlined_file_holds_its_signs_too(exported: Exported, tmp_path: Path) -> None:
    result = stage.export_onnx(exported.path, tmp_path / "i.onnx", inline_functions=True)
    model = replace(exported, path=tmp_path / "i.onnx").model()
    assert not model.functions
    assert not binary_nodes(model)
    report = check(open_artifact(tmp_path / "i.onnx"), exported.network)
    assert report.passed
    assert [entry.layers for entry in report.binary] == [3, 3, 3]
    assert result.artifact.binary is not None
    assert result.artifact.binary.weight_bits == exported.result.artifact.binary.weight_bits  # type: ignore[union-attr]


def test_int8_leaves_binary_layers_and_what_lies_between_them_alone(exported: Exported, tmp_path: Path) -> None:
    result = stage.export_onnx(exported.path, tmp_path / "q.onnx", precision="int8", calibration=calibration())
    model = replace(exported, path=tmp_path / "q.onnx").model()
    before = {node.output[0]: node for node in binary_nodes(exported.model())}
    assert [node.output[0] for node in binary_nodes(model)] == list(before)
    assert all(node.input[1:] == before[node.output[0]].input[1:] for node in binary_nodes(model))
    assert any(node.op_type == "QuantizeLinear" for node in model.graph.node)
    assert [node.reason for node in result.float_nodes if "between" in node.reason] == ["between binary layers"]
    assert result.parity.data[0].held_sqnr_db is not None
    assert check(result.artifact, exported.path).passed


def test_fp16_leaves_binary_operators_in_float32(exported: Exported, tmp_path: Path) -> None:
    result = stage.export_onnx(exported.path, tmp_path / "h.onnx", precision="fp16")
    model = replace(exported, path=tmp_path / "h.onnx").model()
    kinds = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    for node in binary_nodes(model):
        assert [kinds[name] for name in node.input[1:]] == [2, 1, 1, 1]  # uint8 and float32
    held = result.parity.data[0].held_sqnr_db
    assert held is not None
    assert held > 40


def test_a_reference_that_shows_no_signs_is_compared_by_its_outputs(exported: Exported) -> None:
    model = exported.model()
    seen = onnx_reference(model)
    report = parity_with(
        "outputs", lambda inputs, places: replace(seen(inputs, ()), signs=(None,) * len(places)), model
    )
    assert report.passed
    assert not report.binary


def test_the_int8_peer_is_recorded(exported: Exported, write_conv_net: WriteConvNet, tmp_path: Path) -> None:
    source = write_conv_net("float.onnx", size=SHAPE[1], channels=32, layers=2)
    inputs = calibration()
    peer = stage.export_onnx(source, tmp_path / "p8.onnx", precision="int8", calibration=inputs).artifact
    result = stage.export_onnx(exported.path, tmp_path / "m.onnx", int8_peer=tmp_path / "p8.onnx")
    assert result.artifact.int8_peer is not None
    assert (result.artifact.int8_peer.file, result.artifact.int8_peer.sha256) == ("p8.onnx", peer.sha256)
    assert load_manifest(tmp_path / "m.onnx") == result.artifact
    for file, why in ((source, "is a network in fp32"), (exported.path, "must lie in"), (tmp_path / "no.onnx", "no")):
        with pytest.raises(UsageError, match=why):
            stage.export_onnx(exported.path, tmp_path / "n.onnx", int8_peer=file)
    with pytest.raises(UsageError, match="has no binary layers"):
        stage.export_onnx(source, tmp_path / "n.onnx", int8_peer=tmp_path / "p8.onnx")
    assert not (tmp_path / "n.onnx").exists()


def test_compression_is_refused_without_binary_layers(write_conv_net: WriteConvNet, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs a network with binary layers"):
        stage.export_onnx(write_conv_net("f.onnx"), tmp_path / "n.onnx", compress_binary="mst")


def test_a_wrong_conversion_leaves_nothing_behind(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(model: onnx.ModelProto) -> onnx.ModelProto:
        result = clean(model)
        return change(result, binary_nodes(result)[2].input[4], 2)

    monkeypatch.setattr(stage, "clean", broken)
    with pytest.raises(CheckFailedError, match="BinaryDense"):
        stage.export(exported.network, tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())
