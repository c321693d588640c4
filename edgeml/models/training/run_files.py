"""The files of one training run, in its output directory."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeml.core.atomic import atomic_write_text
from edgeml.core.errors import EdgeMLError, UsageError

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class RunFiles:
    """checkpoint.pth, metrics.jsonl, model.safetensors and train.json in `directory`."""

    directory: Path

    @classmethod
    def open(cls, directory: Path, *, resume: bool) -> RunFiles:
        """The files in `directory`, which is created.

        Raises:
            UsageError: it holds a run and `resume` is False, or it is a file.
            EdgeMLError: it could not be created.
        """
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:
            raise UsageError(f"the output {directory} is a file; name a directory") from error
        except OSError as error:
            raise EdgeMLError(f"cannot create {directory}: {error.strerror or error}") from error
        files = cls(directory)
        if files.checkpoint.is_file() and not resume:
            raise UsageError(f"{directory} holds a training run; go on with --resume, or name another output directory")
        return files

    @property
    def checkpoint(self) -> Path:
        """Everything a run needs to be resumed."""
        return self.directory / "checkpoint.pth"

    @property
    def weights(self) -> Path:
        """The averaged weights, for export."""
        return self.directory / "model.safetensors"

    def write_metrics(self, history: Sequence[dict[str, Any]]) -> None:
        """Write metrics.jsonl, one line an epoch; whole each time, so that it never disagrees with the checkpoint."""
        lines = "".join(json.dumps(metrics) + "\n" for metrics in history)
        atomic_write_text(self.directory / "metrics.jsonl", lines)

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Write train.json."""
        text = json.dumps({"schema_version": SCHEMA_VERSION, **summary}, indent=2)
        atomic_write_text(self.directory / "train.json", text + "\n")
