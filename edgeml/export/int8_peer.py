"""Names the int8 network that a binary one must beat, after a look at whether the two can be compared at all."""

from __future__ import annotations

from pathlib import Path

from edgeml.core.artifact import Artifact
from edgeml.core.binary_storage import Int8Peer
from edgeml.core.errors import UsageError
from edgeml.core.tensor_spec import TensorSpec
from edgeml.runtime.onnx_file import open_artifact


def int8_peer(path: Path, artifact: Artifact) -> Int8Peer:
    """The peer's name and digest for the manifest of `artifact`.

    Args:
        path: the peer's file.
        artifact: the binary network that is about to be written.

    Raises:
        UsageError: `artifact` is not binary, or the file is no int8 network with the same input and output that lies
            in the same directory.
        UntrustedFileError: the file breaks a safety limit.
        CheckFailedError: the file is not the one its manifest was written for.
    """
    if artifact.binary is None:
        raise UsageError(
            f"{artifact.model} has no binary layers; an int8 peer is what a binary network is judged against"
        )
    if path.resolve().parent != artifact.path.resolve().parent:
        raise UsageError(
            f"the int8 peer {path} must lie in {artifact.path.parent}, so that the two can be moved together: "
            "copy it there with its manifest"
        )
    if path.resolve() == artifact.path.resolve():
        raise UsageError(f"the int8 peer {path} is the output itself; name another network's file")
    peer = open_artifact(path)
    if peer.precision != "int8" or peer.binary is not None:
        kind = "binary" if peer.binary is not None else peer.precision
        raise UsageError(
            f"the int8 peer {path} is a network in {kind}; give one of float layers, written with --precision int8"
        )
    for what, own, other in (("inputs", artifact.inputs, peer.inputs), ("outputs", artifact.outputs, peer.outputs)):
        if _shapes(own) != _shapes(other):
            raise UsageError(
                f"the int8 peer {path} has {what} of shape {_shapes(other)}, the binary network {_shapes(own)}; give a "
                "network for the same task"
            )
    return Int8Peer(file=path.name, sha256=peer.sha256)


def _shapes(specs: tuple[TensorSpec, ...]) -> list[tuple[int | str, ...]]:
    """Shapes without the batch, which may be fixed in one file and free in the other."""
    return [tuple(spec.shape[1:]) for spec in specs]
