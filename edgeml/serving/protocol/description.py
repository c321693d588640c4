"""How the protocol describes a server and its models."""

from __future__ import annotations

from typing import Any

from edgeml import __version__
from edgeml.core.tensor_spec import TensorSpec
from edgeml.serving.engine_protocol import IndexEntry, ModelMetadata
from edgeml.serving.protocol.datatypes import datatype_of

SERVER_NAME = "edgeml"
EXTENSIONS = (
    "classification",
    "sequence",
    "model_repository",
    "model_configuration",
    "schedule_policy",
    "statistics",
    "binary_tensor_data",
    "parameters",
)


def server_json() -> dict[str, Any]:
    """The server: name, version and extensions."""
    return {"name": SERVER_NAME, "version": __version__, "extensions": list(EXTENSIONS)}


def model_json(metadata: ModelMetadata) -> dict[str, Any]:
    """A model: versions, platform, inputs and outputs; a dynamic axis is -1."""
    return {
        "name": metadata.name,
        "versions": list(metadata.versions),
        "platform": metadata.platform,
        "inputs": [_tensor_json(spec) for spec in metadata.inputs],
        "outputs": [_tensor_json(spec) for spec in metadata.outputs],
    }


def index_json(entry: IndexEntry) -> dict[str, str]:
    """A line of the repository's index."""
    return {"name": entry.name, "version": entry.version, "state": entry.state, "reason": entry.reason}


def sizes(spec: TensorSpec) -> list[int]:
    """A tensor's shape, a dynamic axis being -1."""
    return [-1 if isinstance(axis, str) else axis for axis in spec.shape]


def _tensor_json(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": datatype_of(spec.dtype), "shape": sizes(spec)}
