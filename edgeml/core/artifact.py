"""A model file that one stage hands to the next, with the manifest beside it (NAME.edgeml.json)."""

from __future__ import annotations

import hashlib
import json
import re
import stat
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast, get_args

from edgeml.core.atomic import atomic_write_text
from edgeml.core.binary_storage import BinaryStorage, Int8Peer
from edgeml.core.errors import CheckFailedError, EdgeMLError, UsageError
from edgeml.core.json_values import choice, items, mapping, pairs, record, string
from edgeml.core.preprocessing import Preprocessing
from edgeml.core.target import Target
from edgeml.core.tensor_spec import TensorSpec

Format = Literal["onnx", "tvm"]
Precision = Literal["fp32", "fp16", "int8", "mixed"]
Schedule = Literal["kernels", "tuned", "dlight"]

SCHEMA_VERSION = 1
MANIFEST_SUFFIX = ".edgeml.json"
_MANIFEST_LIMIT_BYTES = 4 << 20
_MANIFEST_KEYS = (
    "schema_version",
    "file",
    "format",
    "model",
    "precision",
    "inputs",
    "outputs",
    "target",
    "sha256",
    "parent_sha256",
    "tool_versions",
    "preprocessing",
    "classes",
    "schedule",
    "binary",
    "int8_peer",
)
# Keys that manifests of earlier releases lack, with what their absence means.
_LATER_KEYS: dict[str, Any] = {"schedule": None, "binary": None, "int8_peer": None}


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """A file plus what must be known to use it and to trust where it came from.

    Attributes:
        path: the model file.
        format: what kind of file it is.
        model: the source it was made from, as the user wrote it ("tinynet-e").
        precision: arithmetic of the bulk of the model; "mixed" where it cannot be told from outside.
        inputs: the model's inputs.
        outputs: the model's outputs.
        sha256: hex digest of the file.
        target: what it was compiled for; None for a portable file.
        parent_sha256: digest of the artifact (or weights file) it was derived from.
        tool_versions: versions of the packages that made it.
        preprocessing: how an image becomes its input, where known.
        classes: class names in logit order, where known.
        schedule: where a compiled file's loops come from: this project's own kernels, a tuner's search, or TVM's rules
            for GPUs; None for a portable file.
        binary: what its binary layers take; None where it has none (or is of another origin, and nobody looked).
        int8_peer: the int8 network that a binary one is measured against, where one was named.
    """

    path: Path
    format: Format
    model: str
    precision: Precision
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    sha256: str
    target: Target | None = None
    parent_sha256: str | None = None
    tool_versions: tuple[tuple[str, str], ...] = ()
    preprocessing: Preprocessing | None = None
    classes: tuple[str, ...] = ()
    schedule: Schedule | None = None
    binary: BinaryStorage | None = None
    int8_peer: Int8Peer | None = None

    @property
    def size_bytes(self) -> int:
        """Size of the model file."""
        return self.path.stat().st_size

    @property
    def manifest_path(self) -> Path:
        """Where the manifest lies."""
        return manifest_path(self.path)

    @property
    def classified_output(self) -> str | None:
        """The output that `classes` belong to: the first with an axis of one number for each; None without."""
        count = len(self.classes)
        found = (spec.name for spec in self.outputs if count and len(spec.shape) > 1 and spec.shape[-1] == count)
        return next(found, None)

    def at(self, path: Path) -> Artifact:
        """The same artifact, moved to `path`."""
        return replace(self, path=path)

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON; the path is the bare file name, so that the pair can be moved."""
        return {
            "schema_version": SCHEMA_VERSION,
            "file": self.path.name,
            "format": self.format,
            "model": self.model,
            "precision": self.precision,
            "inputs": [spec.to_json() for spec in self.inputs],
            "outputs": [spec.to_json() for spec in self.outputs],
            "target": None if self.target is None else str(self.target),
            "sha256": self.sha256,
            "parent_sha256": self.parent_sha256,
            "tool_versions": dict(self.tool_versions),
            "preprocessing": None if self.preprocessing is None else self.preprocessing.to_json(),
            "classes": list(self.classes),
            "schedule": self.schedule,
            "binary": None if self.binary is None else self.binary.to_json(),
            "int8_peer": None if self.int8_peer is None else self.int8_peer.to_json(),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any], directory: Path) -> Artifact:
        """Inverse of `to_json` for a file in `directory`.

        Raises:
            UsageError: the values are not those of a manifest this version reads.
        """
        version = mapping("the manifest", value).get("schema_version")
        if version != SCHEMA_VERSION:
            raise UsageError(f"the manifest's schema_version is {version!r:.80}; this edgeml reads {SCHEMA_VERSION}")
        values = record("the manifest", _LATER_KEYS | value, _MANIFEST_KEYS)
        name = string("file", values["file"])
        if Path(name).name != name or name in {"", ".", ".."} or "\\" in name or "\0" in name:
            raise UsageError(f"the manifest names the file {name!r:.80}; it must be a plain name in its own directory")
        target, parent, preprocessing = values["target"], values["parent_sha256"], values["preprocessing"]
        schedule, binary, int8_peer = values["schedule"], values["binary"], values["int8_peer"]
        return cls(
            path=directory / name,
            format=cast("Format", choice("format", values["format"], get_args(Format))),
            model=string("model", values["model"]),
            precision=cast("Precision", choice("precision", values["precision"], get_args(Precision))),
            inputs=tuple(TensorSpec.from_json(spec) for spec in items("inputs", values["inputs"])),
            outputs=tuple(TensorSpec.from_json(spec) for spec in items("outputs", values["outputs"])),
            sha256=_digest("sha256", values["sha256"]),
            target=None if target is None else Target.parse(string("target", target)),
            parent_sha256=None if parent is None else _digest("parent_sha256", parent),
            tool_versions=pairs("tool_versions", values["tool_versions"]),
            preprocessing=None if preprocessing is None else Preprocessing.from_json(preprocessing),
            classes=tuple(string("a class name", each) for each in items("classes", values["classes"])),
            schedule=None if schedule is None else cast("Schedule", choice("schedule", schedule, get_args(Schedule))),
            binary=None if binary is None else BinaryStorage.from_json(binary),
            int8_peer=None if int8_peer is None else Int8Peer.from_json(int8_peer),
        )

    def save_manifest(self) -> None:
        """Write the manifest beside the file."""
        atomic_write_text(self.manifest_path, json.dumps(self.to_json(), indent=2) + "\n")


def _digest(name: str, value: object) -> str:
    digest = string(name, value)
    if not re.fullmatch("[0-9a-f]{64}", digest):
        raise UsageError(f"{name} is {digest!r:.80}; it must be 64 hexadecimal digits")
    return digest


def manifest_path(path: Path) -> Path:
    """Where the manifest of the model file `path` lies."""
    return path.with_name(path.name + MANIFEST_SUFFIX)


def sha256_file(path: Path) -> str:
    """Hex SHA-256 digest of a file, read in pieces.

    Raises:
        UsageError: the file cannot be read.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise UsageError(f"cannot read {path}: it is no regular file")
        with path.open("rb") as file:
            digest = hashlib.sha256()
            while piece := file.read(1 << 20):
                digest.update(piece)
            return digest.hexdigest()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from error


def load_manifest(path: Path) -> Artifact | None:
    """The artifact of the model file `path` by its manifest, or None where it has none.

    Raises:
        UsageError: the manifest cannot be read as one.
        CheckFailedError: the file is not the one the manifest was written for.
    """
    manifest = manifest_path(path)
    try:
        if not manifest.is_file():
            return None
        if manifest.stat().st_size > _MANIFEST_LIMIT_BYTES:
            raise UsageError(f"{manifest} is larger than {_MANIFEST_LIMIT_BYTES} bytes, so it is no manifest")
        value = json.loads(manifest.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"cannot read the manifest {manifest}: {error}") from error
    if not isinstance(value, dict):
        raise UsageError(f"cannot read the manifest {manifest}: it holds no JSON object")
    try:
        artifact = Artifact.from_json(value, path.parent).at(path)
    except EdgeMLError as error:
        raise UsageError(f"{manifest}: {error}") from error
    actual = sha256_file(path)
    if actual != artifact.sha256:
        raise CheckFailedError(
            f"{path} has SHA-256 {actual[:12]}..., its manifest says {artifact.sha256[:12]}...: the file "
            "was changed after it was written; export it again, or delete the manifest to use it all the same"
        )
    return artifact
