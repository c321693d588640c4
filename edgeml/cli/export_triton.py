"""`edgeml export --triton`: where the exported model goes in a model repository."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeml.core.errors import UsageError

if TYPE_CHECKING:
    from edgeml.core.artifact import Artifact


@dataclass(frozen=True)
class TritonPlace:
    """A model's place in a repository.

    Attributes:
        repository: its directory.
        name: of the model.
    """

    repository: Path
    name: str

    @classmethod
    def choose(
        cls, repository: Path, name: str | None, source: str, output: Path | None, int8_peer: Path | None
    ) -> TritonPlace:
        """The place that the options name, looked at before any work is done.

        Raises:
            UsageError: a model cannot be laid there.
        """
        from edgeml.export.triton import check_place, model_name

        if int8_peer is not None and output is None:
            raise UsageError("--int8-peer names a file beside the output, so with --triton it needs --output, too")
        found = cls(repository, name or model_name(Path(output or source).name.removesuffix(".onnx")))
        check_place(found.repository, found.name)
        return found

    def add(self, artifact: Artifact) -> Artifact:
        """Lay the model there; the artifact in the repository.

        Raises:
            EdgeMLError: it cannot be served so, or cannot be written.
        """
        from edgeml.export.triton import add_to_repository

        return add_to_repository(artifact, self.repository, self.name)


def placed_json(placed: Artifact | None) -> dict[str, Any] | None:
    """A model in a repository as plain values for JSON."""
    if placed is None:
        return None
    directory = placed.path.parent
    return {"model": directory.parent.name, "version": directory.name, "file": str(placed.path)}


def placed_row(placed: Artifact) -> tuple[str, str]:
    """The same as a row of the table."""
    directory = placed.path.parent
    return ("repository", f"{directory.parent.parent}: model {directory.parent.name}, version {directory.name}")
