"""`edgeml export --video` and `edgeml train --data video:generated` as users call them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result

from edgeml.cli.export import command as export
from edgeml.cli.train import command as train
from edgeml.core.artifact import load_manifest
from edgeml.core.errors import UsageError
from edgeml.models.video.clips import segmentation_training
from edgeml.runtime.streaming.model import StreamingModel

pytestmark = pytest.mark.torch

CLIP = "video:generated:0-12:32x32"


def run(command: Any, *arguments: str) -> Result:
    return CliRunner().invoke(command, arguments, catch_exceptions=False, standalone_mode=False)


def exported(directory: Path, *arguments: str) -> Result:
    common = ("encoder-decoder", "--resolution", "32", "--output", str(directory / "net.onnx"), "--calibration", CLIP)
    return run(export, *common, *arguments)


def test_a_gated_network_is_written_with_the_gate_that_leaves_least_work(tmp_path: Path) -> None:
    value = json.loads(exported(tmp_path, "--video", "gated", "--json").stdout)
    assert sorted(value["files"]) == ["fp32", "int8", "key", "residual"]
    for path in value["files"].values():
        onnx.checker.check_model(path, full_check=True)
    assert 1.5 < value["noise_sigma"] < 2.6
    good = [trial for trial in value["trials"] if trial["agreement"] >= 0.99]
    assert value["gate"] in value["trials"]
    assert value["gate"]["work"] == min(trial["work"] for trial in good)
    assert value["trials"][0]["agreement"] == 1.0  # the first passes everything
    manifest = load_manifest(Path(value["files"]["fp32"]))
    assert manifest is not None
    assert manifest.preprocessing is not None
    assert manifest.preprocessing.height == 32
    stream = StreamingModel.open(Path(value["files"]["residual"])).stream()
    frame = np.zeros((3, 32, 32), np.float32)
    assert [stream.step(frame).statistics.kind for _ in range(3)] == ["key", "residual", "residual"]


def test_the_table_says_what_was_chosen_and_how_to_measure_it(tmp_path: Path) -> None:
    told = exported(tmp_path, "--video", "gated", "--gate", "exact", "--key-interval", "8").stdout
    assert "every changed code passes: results are those of the whole int8 network, bit for bit" in told
    assert "agreement with the whole int8 network 1.0000 (1 gates tried)" in told
    assert f"edgeml bench {tmp_path}/net.residual.onnx --data {CLIP}" in told
    assert StreamingModel.open(tmp_path / "net.key.onnx").key_interval == 8


def test_residuals_in_few_bits_are_written_with_their_bit_operations(tmp_path: Path) -> None:
    told = exported(tmp_path, "--video", "resq", "--key-interval", "4").stdout
    assert "(0.438 of all frames in 8 bits)" in told
    assert StreamingModel.open(tmp_path / "net.key.onnx").mode == "resq"
    value = json.loads(exported(tmp_path, "--video", "resq", "--key-interval", "2", "--json").stdout)
    work = value["bit_operations"]
    assert work["amortized"] / work["peak"] == 0.625


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--video", "resq"], "add --key-interval"),
        (["--video", "resq", "--key-interval", "4", "--gate", "exact"], "--gate cannot be given with --video resq"),
        (["--video", "gated", "--residual-bits", "4"], "--residual-bits cannot be given with --video gated"),
        (["--video", "gated", "--precision", "int8"], "--precision cannot be given with --video gated"),
        (["--key-interval", "4"], "--key-interval is for networks for video"),
        (["--video", "gated", "--calibration", "digits"], "unknown clip 'digits'"),
        (["--video", "gated", "--calibration", "video:generated:0-1:32x32"], "has 1 frame"),
        (["--video", "gated", "--calibration", "video:none.mp4"], "none.mp4"),
    ],
)
def test_a_mistake_is_told_and_leaves_no_file(tmp_path: Path, arguments: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        exported(tmp_path, *arguments)
    assert not list(tmp_path.iterdir())


def test_a_clip_to_calibrate_on_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="add --calibration video:FILE"):
        run(export, "encoder-decoder", "--output", str(tmp_path / "net.onnx"), "--video", "gated")


def test_a_segmentation_network_is_trained_on_scenes_and_exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segmentation_training.SegmentationRecipe, "scenes", 16)
    monkeypatch.setattr(segmentation_training, "_UNSEEN_SCENES", 4)
    arguments = ("encoder-decoder", "--data", "video:generated:32x64", "--epochs", "1", "--output", str(tmp_path / "r"))
    value = json.loads(run(train, *arguments, "--json").stdout)
    assert 0 <= value["mean_iou"] <= 1
    weights = tmp_path / "r" / "model.safetensors"
    assert json.loads((tmp_path / "r" / "train.json").read_text())["recipe"] == "scenes"
    told = run(
        export, "encoder-decoder", "--weights", str(weights), "--output", str(tmp_path / "net.onnx"),
        "--video", "gated",
        "--calibration", "video:generated:0-4:32x64", "--gate", "exact",
    ).stdout  # fmt: skip
    assert "net.residual.onnx" in told
    assert StreamingModel.open(tmp_path / "net.residual.onnx").interface.frame_shape == (3, 32, 64)
    with pytest.raises(UsageError, match="holds a training run"):
        run(train, *arguments)
    with pytest.raises(UsageError, match="--resume cannot be given with drawn scenes"):
        run(train, *arguments, "--resume")
    with pytest.raises(UsageError, match="no masks to train on"):
        run(train, "encoder-decoder", "--data", "video:generated-panning", "--output", str(tmp_path / "s"))
