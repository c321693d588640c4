"""Weights files that say what they are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors import safe_open
from torch import nn

from edgeml.core.errors import EdgeMLError, UntrustedFileError, UsageError
from edgeml.core.preprocessing import Preprocessing
from edgeml.models.checkpoint import save_weights
from edgeml.models.training.weights_metadata import WeightsMetadata, read_weights_metadata

METADATA = WeightsMetadata(
    network="tinynet-r28-w0.35-d0.5-small",
    classes=("cat", "dög"),
    preprocessing=Preprocessing(height=28, width=28, mean=(0.286,), std=(0.353,)),
    data="npz:pets.npz:train",
    recipe="quick",
    epochs=3,
)


def test_what_is_written_is_read_by_us_and_by_the_library(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_weights(nn.Linear(2, 2), path, METADATA.to_header())
    assert read_weights_metadata(path) == METADATA
    assert METADATA.in_channels == 1
    assert METADATA.resolution == 28
    with safe_open(path, framework="numpy") as file:
        assert json.loads(file.metadata()["edgeml"])["classes"] == ["cat", "dög"]


def test_weights_from_elsewhere_say_nothing(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_weights(nn.Linear(2, 2), path)
    assert read_weights_metadata(path) is None
    assert read_weights_metadata(tmp_path / "model.pth") is None


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", UsageError),
        ((1 << 60).to_bytes(8, "little"), UntrustedFileError),
        ((5).to_bytes(8, "little") + b"[1,2]", UsageError),
        ((9).to_bytes(8, "little") + b"\xff" * 9, UsageError),
        ((29).to_bytes(8, "little") + b'{"__metadata__":{"edgeml":1}}', UsageError),
        ((33).to_bytes(8, "little") + b'{"__metadata__":{"edgeml":"{}"}} ', UsageError),
    ],
)
def test_a_damaged_header_is_one_clear_error(tmp_path: Path, content: bytes, kind: type[EdgeMLError]) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(kind, match=r"model\.safetensors"):
        read_weights_metadata(path)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read the weights"):
        read_weights_metadata(tmp_path / "none.safetensors")
