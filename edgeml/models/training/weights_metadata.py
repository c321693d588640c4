"""What a weights file says about itself, so that export can build the same network without being told again."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeml.core.errors import UntrustedFileError, UsageError
from edgeml.core.preprocessing import Preprocessing

METADATA_KEY = "edgeml"
_HEADER_LIMIT_BYTES = 16 << 20
_FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class WeightsMetadata:
    """Travels in the header of model.safetensors, under the key "edgeml".

    Attributes:
        network: the source the network was built from, as the user wrote it.
        classes: class names in logit order.
        preprocessing: how images become input; its size and channels are the network's.
        data: the data set trained on.
        recipe: the recipe's name.
        epochs: epochs trained.
    """

    network: str
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    data: str
    recipe: str
    epochs: int

    @property
    def in_channels(self) -> int:
        """Channels of the network's input."""
        return self.preprocessing.channels

    @property
    def resolution(self) -> int:
        """Height of the network's input in pixels."""
        return self.preprocessing.height

    def to_header(self) -> dict[str, str]:
        """The entry for a .safetensors header."""
        return {METADATA_KEY: json.dumps(self.to_json())}

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "format": _FORMAT,
            "network": self.network,
            "classes": list(self.classes),
            "preprocessing": self.preprocessing.to_json(),
            "data": self.data,
            "recipe": self.recipe,
            "epochs": self.epochs,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> WeightsMetadata:
        """Inverse of `to_json`.

        Raises:
            ValueError: the values are of another format.
        """
        if value["format"] != _FORMAT:
            raise ValueError(f"format {value['format']!r}, this edgeml reads {_FORMAT}")
        return cls(
            network=str(value["network"]),
            classes=tuple(str(name) for name in value["classes"]),
            preprocessing=Preprocessing.from_json(value["preprocessing"]),
            data=str(value["data"]),
            recipe=str(value["recipe"]),
            epochs=int(value["epochs"]),
        )


def read_weights_metadata(path: Path) -> WeightsMetadata | None:
    """What a .safetensors file written by `edgeml train` says of itself; None for weights from elsewhere.

    Only the header is read: its length (8 bytes, little-endian), then JSON.

    Raises:
        UsageError: the file cannot be read, or its edgeml metadata is damaged.
        UntrustedFileError: its header is larger than 16 MiB.
    """
    if path.suffix != ".safetensors":
        return None
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > _HEADER_LIMIT_BYTES:
                raise UntrustedFileError(f"{path} declares a header of {length} bytes; allowed: {_HEADER_LIMIT_BYTES}")
            header = json.loads(file.read(length))
        text = header.get("__metadata__", {}).get(METADATA_KEY)
        return None if text is None else WeightsMetadata.from_json(json.loads(text))
    except OSError as error:
        raise UsageError(f"cannot read the weights {path}: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UsageError(
            f"{path} has no header that edgeml can read ({error!r}); train or download it again"
        ) from error
