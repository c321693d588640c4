from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import edgeml.export.export as stage
from edgeml.core.artifact import load_manifest, sha256_file
from edgeml.core.errors import CheckFailedError, UntrustedFileError, UsageError
from edgeml.core.parity import ParityReport
from edgeml.core.samples import Samples
from edgeml.export.check import check
from edgeml.export.clean import clean, to_bytes
from edgeml.export.run_onnx import run_samples
from edgeml.runtime.onnx_file import open_artifact
from tests.conftest import WriteConvNet
from tests.export.conftest import Case
from tests.export.faults import scale_weights


def test_an_export_leaves_a_file_and_its_manifest(case: Case, tmp_path: Path) -> None:
    weights = tmp_path / "w.pth"
    weights.write_bytes(b"weights")
    result = stage.export(case.network, tmp_path / "m.onnx", weights=weights)
    artifact = load_manifest(tmp_path / "m.onnx")
    assert artifact == result.artifact
    assert artifact is not None
    assert artifact.parent_sha256 == sha256_file(weights)
    assert artifact.preprocessing == case.network.preprocessing
    assert {"torch", "onnx", "onnxruntime", "edgeml"} <= {name for name, _ in artifact.tool_versions}
    assert [entry.batch for entry in result.parity.outputs] == [1, 2, 8]
    assert result.parity.passed
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["m.onnx", "m.onnx.edgeml.json", "w.pth"]


def test_the_parent_of_int8_is_the_fp32_file(case: Case, samples: Samples, tmp_path: Path) -> None:
    fp32 = stage.export(case.network, tmp_path / "a.onnx").artifact
    int8 = stage.export(case.network, tmp_path / "b.onnx", precision="int8", calibration=samples)
    assert int8.artifact.parent_sha256 == fp32.sha256
    assert int8.parity.data[0].data == "noise:train"
    assert ParityReport.from_json(json.loads(json.dumps(int8.parity.to_json()))) == int8.parity


def test_a_wrong_conversion_leaves_nothing_behind_and_names_the_layer(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "clean", lambda *a, **k: scale_weights(clean(*a, **k), "blocks.1.conv_dw.weight", 1.3))
    with pytest.raises(CheckFailedError, match=r"first layer that differs: blocks\.1\.conv_dw with blocks\.1\.bn2"):
        stage.export(case.network, tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


def test_a_loss_of_accuracy_beyond_the_bound_fails(case: Case, samples: Samples, tmp_path: Path) -> None:
    labels = run_samples(case.model, samples.inputs).argmax(1).astype(np.int64)
    judged = Samples("noise:test", samples.inputs, labels, samples.classes)
    result = stage.export(
        case.network, tmp_path / "m.onnx", precision="int8", calibration=samples, evaluation_data=judged,
        max_accuracy_drop=10,
    )  # fmt: skip
    assert result.parity.data[0].reference_accuracy == 1.0
    drop = result.parity.data[0].accuracy_drop
    assert drop is not None
    with pytest.raises(CheckFailedError, match=r"accuracy drop of at most -1"):
        stage.export(
            case.network, tmp_path / "n.onnx", precision="int8", calibration=samples, evaluation_data=judged,
            max_accuracy_drop=-1,
        )  # fmt: skip
    assert not (tmp_path / "n.onnx").exists()


def test_int8_without_calibration_tells_what_to_give(case: Case, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--calibration DATA"):
        stage.export(case.network, tmp_path / "m.onnx", precision="int8")


def test_a_foreign_file_is_cleaned_and_compared_with_itself(write_conv_net: WriteConvNet, tmp_path: Path) -> None:
    source = write_conv_net("source.onnx")
    result = stage.export_onnx(source, tmp_path / "out.onnx")
    assert result.artifact.parent_sha256 == sha256_file(source)
    assert check(result.artifact, source).passed


def test_a_foreign_relu_network_is_quantized_throughout(write_conv_net: WriteConvNet, tmp_path: Path) -> None:
    source = write_conv_net("source.onnx", channels=32, size=32, layers=3)
    inputs = np.random.default_rng(0).standard_normal((32, 1, 32, 32)).astype(np.float32)
    calibration = Samples("noise:train", inputs, np.zeros(32, np.int64), ())
    result = stage.export_onnx(source, tmp_path / "q.onnx", precision="int8", calibration=calibration)
    assert result.artifact.parent_sha256 == sha256_file(source)
    assert sum(node.share_of_macs for node in result.float_nodes) < 0.05
    assert check(result.artifact, source).data[0].sqnr_db is not None


def test_a_file_that_is_no_onnx_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"\xff" * 100)
    with pytest.raises((UntrustedFileError, UsageError)):
        stage.export_onnx(tmp_path / "bad.onnx", tmp_path / "out.onnx")


def test_check_names_the_layer_of_a_file_that_was_altered(case: Case, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(to_bytes(scale_weights(case.copy(), "blocks.2.se.conv_expand.weight", 40.0)))
    report = check(open_artifact(path), case.network)
    assert not report.passed
    assert report.first_difference is not None
    assert report.first_difference.layer == "blocks.2.se.conv_expand"
    assert ParityReport.from_json(json.loads(json.dumps(report.to_json()))) == report
