"""What a binary network's layers take in a file, and the int8 network it must be measured against."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgeml.core.errors import UsageError
from edgeml.core.json_values import integer, record, string

_STORAGE_KEYS = ("layers", "weight_bits", "file_bytes", "body_bytes", "float32_bytes", "float_parameters")
_PEER_KEYS = ("file", "sha256")


@dataclass(frozen=True, kw_only=True)
class BinaryStorage:
    """The size of a file's binary layers beside what the same layers take in float32.

    Attributes:
        layers: how many layers are binary.
        weight_bits: their weights, one bit each; a compressed tree of weights counts as the weights it stands for.
        file_bytes: what the layers take in the file: nodes, packed weights, thresholds, scales and biases.
        body_bytes: what the operators' bodies in standard operators take: once a file, or once a layer where the bodies
            stand in the graph in place of the operators.
        float32_bytes: what they would take as float32 convolutions and dense layers with a bias.
        float_parameters: numbers of all other layers and of the binary layers' thresholds, scales and biases.
    """

    layers: int
    weight_bits: int
    file_bytes: int
    body_bytes: int
    float32_bytes: int
    float_parameters: int

    @property
    def times_smaller(self) -> float:
        """Bytes in float32 over bytes in the file, the operators' bodies left out."""
        return self.float32_bytes / self.file_bytes if self.file_bytes else 1.0

    def __str__(self) -> str:
        return (
            f"{self.layers} layer{'' if self.layers == 1 else 's'}, {self.weight_bits:,} bits of weights in "
            f"{self.file_bytes:,} bytes ({self.times_smaller:.1f}x smaller than float32) and {self.body_bytes:,} bytes "
            f"of operator bodies; {self.float_parameters:,} float parameters"
        )

    def to_json(self) -> dict[str, int]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: object) -> BinaryStorage:
        """Inverse of `to_json`.

        Raises:
            UsageError: the values are not counts.
        """
        values = record("binary", value, _STORAGE_KEYS)
        counts = {key: integer(f"binary's {key}", each) for key, each in values.items()}
        if min(counts.values()) < 0 or counts["layers"] == 0:
            raise UsageError(f"binary is {counts}; it must count at least one layer, and nothing below 0")
        return cls(**counts)


@dataclass(frozen=True, kw_only=True)
class Int8Peer:
    """The int8 network of like accuracy that a binary network is measured against, a file in the same directory.

    Attributes:
        file: the bare file name, so that the two can be moved together.
        sha256: the file's digest.
    """

    file: str
    sha256: str

    def to_json(self) -> dict[str, str]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: object) -> Int8Peer:
        """Inverse of `to_json`.

        Raises:
            UsageError: the file is no plain name, or the digest is none.
        """
        values: dict[str, Any] = record("int8_peer", value, _PEER_KEYS)
        name, digest = string("int8_peer's file", values["file"]), string("int8_peer's sha256", values["sha256"])
        if Path(name).name != name or name in {"", ".", ".."} or "\\" in name or "\0" in name:
            raise UsageError(f"int8_peer names the file {name!r:.80}; it must be a plain name in the same directory")
        if not re.fullmatch("[0-9a-f]{64}", digest):
            raise UsageError(f"int8_peer's sha256 is {digest!r:.80}; it must be 64 hexadecimal digits")
        return cls(file=name, sha256=digest)
