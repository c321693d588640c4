from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edgeml.core.artifact import Artifact
from edgeml.core.binary_storage import BinaryStorage, Int8Peer
from edgeml.core.errors import UsageError
from edgeml.edge_bench.verdicts.peers import with_peers
from edgeml.runtime.onnx_file import open_artifact
from tests.conftest import WriteConvNet

STORAGE = BinaryStorage(layers=1, weight_bits=8, file_bytes=100, body_bytes=10, float32_bytes=36, float_parameters=3)


@pytest.fixture
def peer(write_conv_net: WriteConvNet) -> Artifact:
    return open_artifact(write_conv_net("peer.onnx"))


@pytest.fixture
def binary(write_conv_net: WriteConvNet, peer: Artifact) -> Artifact:
    named = Int8Peer(file="peer.onnx", sha256=peer.sha256)
    return replace(open_artifact(write_conv_net("bnn.onnx", channels=8)), binary=STORAGE, int8_peer=named)


def test_a_peer_is_added_once(binary: Artifact, peer: Artifact) -> None:
    assert with_peers([binary, binary]) == ([binary, binary, peer], [])
    assert with_peers([peer, binary]) == ([peer, binary], [])


def test_float_networks_bring_nothing(peer: Artifact) -> None:
    assert with_peers([peer]) == ([peer], [])


def test_without_a_peer_the_warning_says_how_to_name_one(binary: Artifact) -> None:
    lone = replace(binary, int8_peer=None)
    found, warnings = with_peers([lone, lone])
    assert found == [lone, lone]
    assert len(warnings) == 1
    assert "whether it pays is unknown; export it with --int8-peer FILE" in warnings[0]


def test_a_peer_that_is_gone_or_changed_is_a_warning(binary: Artifact, peer: Artifact) -> None:
    changed = replace(binary, int8_peer=Int8Peer(file="peer.onnx", sha256="0" * 64))
    found, warnings = with_peers([changed])
    assert found == [changed]
    assert "is another file than the one it was named for" in warnings[0]
    peer.path.unlink()
    found, warnings = with_peers([binary])
    assert found == [binary]
    assert "cannot be opened" in warnings[0]


def test_a_peer_that_the_runtime_does_not_open_is_a_warning(binary: Artifact) -> None:
    found, warnings = with_peers([binary], runtime="tvm")
    assert found == [binary]
    assert "has the format onnx, which tvm does not open" in warnings[0]


def test_a_manifest_of_someone_else_cannot_name_a_file_elsewhere(binary: Artifact, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="plain name"):
        Artifact.from_json(binary.to_json() | {"int8_peer": {"file": "../x.onnx", "sha256": "0" * 64}}, tmp_path)
