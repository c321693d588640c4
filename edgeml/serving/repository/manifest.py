"""What a model's manifest says for serving it."""

from __future__ import annotations

import json
from pathlib import Path

from edgeml.core.artifact import Artifact, manifest_path
from edgeml.core.errors import EdgeMLError

_SIZE_LIMIT = 4 << 20


def manifest_labels(path: Path) -> dict[str, tuple[str, ...]]:
    """Names of classes by output, from the manifest beside a model file; empty where it tells none.

    Whether the manifest can be read and is the file's own is told of when the model is loaded.
    """
    manifest = manifest_path(path)
    try:
        if not manifest.is_file() or manifest.stat().st_size > _SIZE_LIMIT:
            return {}
        artifact = Artifact.from_json(json.loads(manifest.read_bytes()), path.parent)
    except (OSError, ValueError, RecursionError, EdgeMLError):
        return {}
    if artifact.classified_output is None:
        return {}
    # JSON can write halves of characters, which no answer could carry.
    return {artifact.classified_output: tuple(each.encode("utf-8", "replace").decode() for each in artifact.classes)}
