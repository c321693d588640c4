"""What `edgeml models show` and `edgeml export` tell of trees of binary filters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result

from edgeml.cli import export, models
from edgeml.cli.speed import Speed
from edgeml.core.errors import UsageError
from edgeml.models.binary.layers import binary_layers
from edgeml.models.checkpoint import save_weights
from edgeml.models.source import load_source

pytestmark = pytest.mark.torch

FASTER = Speed(
    milliseconds=0.5, other_milliseconds=1.0, time_ratio=0.5, ci95=(0.4, 0.6), verdict="faster", threads=1, batch=1,
    warnings=("noisy",),
)  # fmt: skip


def run(command: Any, *arguments: str) -> Result:
    return CliRunner().invoke(command, arguments, catch_exceptions=False, standalone_mode=False)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a small network whose filters differ from the first one in few bits."""
    torch.manual_seed(0)
    module = load_source("binarynet-small", classes=10, in_channels=1, resolution=28).module
    with torch.no_grad():
        for _, layer in binary_layers(module):
            filters = layer.weight[:1].expand_as(layer.weight)
            layer.weight.copy_(torch.where(torch.rand_like(filters) < 0.05, -filters, filters))
    path = tmp_path_factory.mktemp("alike") / "model.safetensors"
    save_weights(module, path)
    return path


def test_a_network_with_weights_is_shown_with_its_trees(weights: Path) -> None:
    value = json.loads(run(models.show, "binarynet-small", "--weights", str(weights), "--no-measure", "--json").stdout)
    report = value["compression"]
    assert value["compression_speed"] is None
    assert 0.02 < report["mean_edge"] < 0.12
    assert report["bits_before"] == value["bits"] > 2 * report["bits_after"]
    assert report["bit_operations_before"] > 5 * report["bit_operations_after"]
    told = run(models.show, "binarynet-small", "--weights", str(weights), "--no-measure").stdout
    assert len([line for line in told.splitlines() if line.endswith("  a tree")]) == len(report["layers"])
    assert f"{report['bits_before']:,} bits before, {report['bits_after']:,} after" in told
    assert "tree depth      0 before" in told
    assert "time            not measured" in told


def test_trees_of_a_network_without_binary_layers_are_refused(weights: Path) -> None:
    with pytest.raises(UsageError, match="tinynet-e has none; leave it out"):
        run(models.show, "tinynet-e", "--weights", str(weights))


def test_an_export_tells_time_before_and_after(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[tuple[str, ...]] = []

    def measure(file: Any, other: Any, **_: Any) -> Speed:
        import onnx

        measured.append(
            tuple(
                next(node.op_type for node in onnx.load(each.path).graph.node if node.domain == "ai.edgeml")
                for each in (file, other)
            )
        )
        return FASTER

    monkeypatch.setattr("edgeml.cli.speed.measure_speed", measure)
    arguments = ("binarynet-small", "--weights", str(weights), "--output", str(tmp_path / "m.onnx"))
    told = run(export.command, *arguments, "--compress-binary", "mst").stdout
    assert measured == [("TreeBinaryConv", "BinaryConv")]
    assert "1.000 ms before, 0.500 ms after: faster than the same filters without trees: 0.50x its time" in told
    assert "warning         noisy" in told
    value = json.loads(run(export.command, *arguments, "--compress-binary", "mst", "--no-measure", "--json").stdout)
    assert value["compression_speed"] is None
    assert value["compression"]["depth"] >= 1
    told = run(export.command, *arguments, "--compress-binary", "mst", "--inline-functions").stdout
    assert "time            not measured" in told


@pytest.mark.slow
def test_time_is_measured_for_real(weights: Path, tmp_path: Path) -> None:
    arguments = ("binarynet-small", "--weights", str(weights), "--output", str(tmp_path / "m.onnx"))
    value = json.loads(run(export.command, *arguments, "--compress-binary", "mst", "--json").stdout)
    speed = value["compression_speed"]
    assert speed["milliseconds"] > 0
    assert speed["ci95"][0] <= speed["time_ratio"] <= speed["ci95"][1]
