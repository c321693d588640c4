"""Brings the int8 network that a binary one must beat into the run, or says that nobody named one."""

from __future__ import annotations

from collections.abc import Sequence

from edgeml.core.artifact import Artifact
from edgeml.core.errors import EdgeMLError
from edgeml.runtime.onnx_file import open_artifact
from edgeml.runtime.registry import get_runtime

HOW_TO_NAME_ONE = "export it with --int8-peer FILE, an int8 network of equal accuracy on the same data"


def with_peers(artifacts: Sequence[Artifact], *, runtime: str | None = None) -> tuple[list[Artifact], list[str]]:
    """The artifacts followed by those int8 peers of binary ones that are not among them, and what to warn of.

    Args:
        artifacts: what is to be measured.
        runtime: what executes the models; None where each file's format decides.

    Returns:
        The artifacts, and one warning for each binary network whose pay-off stays unknown, with the mend.
    """
    found, warnings = list(artifacts), []
    for artifact in artifacts:
        if artifact.binary is None:
            continue
        peer = artifact.int8_peer
        if peer is None:
            warnings.append(
                f"{artifact.path} is a binary network and names no int8 peer, so whether it pays is unknown; "
                f"{HOW_TO_NAME_ONE}"
            )
        elif not any(each.sha256 == peer.sha256 and each.binary is None for each in found):
            try:
                opened = open_artifact(artifact.path.with_name(peer.file))
            except EdgeMLError as error:
                warnings.append(_unknown(artifact, f"cannot be opened ({error})"))
                continue
            if opened.sha256 != peer.sha256:
                warnings.append(_unknown(artifact, "is another file than the one it was named for"))
            elif runtime is not None and opened.format not in get_runtime(runtime).formats:
                warnings.append(_unknown(artifact, f"has the format {opened.format}, which {runtime} does not open"))
            else:
                found.append(opened)
    return found, list(dict.fromkeys(warnings))


def _unknown(artifact: Artifact, why: str) -> str:
    assert artifact.int8_peer is not None
    return (
        f"{artifact.path}: its int8 peer {artifact.int8_peer.file} {why}, so whether it pays is unknown; "
        f"{HOW_TO_NAME_ONE}"
    )
