from __future__ import annotations

from typing import Any

import pytest

from edgeml.core.binary_storage import BinaryStorage, Int8Peer
from edgeml.core.errors import UsageError

STORAGE = BinaryStorage(
    layers=2, weight_bits=73_728, file_bytes=10_000, body_bytes=2_000, float32_bytes=295_000, float_parameters=1_234
)
PEER = Int8Peer(file="m-int8.onnx", sha256="a" * 64)


def test_both_come_back_from_their_json() -> None:
    assert BinaryStorage.from_json(STORAGE.to_json()) == STORAGE
    assert Int8Peer.from_json(PEER.to_json()) == PEER


def test_the_text_gives_bits_bytes_and_how_much_smaller() -> None:
    assert str(STORAGE) == (
        "2 layers, 73,728 bits of weights in 10,000 bytes (29.5x smaller than float32) and 2,000 bytes of operator "
        "bodies; 1,234 float parameters"
    )


@pytest.mark.parametrize("change", [{"layers": 0}, {"weight_bits": -1}, {"file_bytes": 1.5}, {"more": 1}])
def test_counts_that_cannot_be_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        BinaryStorage.from_json(STORAGE.to_json() | change)


@pytest.mark.parametrize("name", ["../m.onnx", "/etc/passwd", "a\\b", "..", "", "a\0b"])
def test_a_peer_outside_the_directory_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="plain name"):
        Int8Peer.from_json({"file": name, "sha256": "a" * 64})


def test_a_peer_without_a_digest_is_refused() -> None:
    with pytest.raises(UsageError, match="64 hexadecimal digits"):
        Int8Peer.from_json({"file": "m.onnx", "sha256": "abc"})
