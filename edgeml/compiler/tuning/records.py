"""Keeps on disk what tuning has found out, one file a function, so that a run that was killed goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from edgeml.core.atomic import atomic_write_text
from edgeml.core.errors import EdgeMLError

_FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class TuningRecord:
    """The outcome of tuning one function.

    Attributes:
        trials: how many schedules were tried.
        ratio: time of the best found over that of the untuned function; None where none was found.
        ci95: 95% interval of `ratio`.
        tuned: the tuned function as TVM writes it, where it is kept; None where the untuned one is.
    """

    trials: int
    ratio: float | None = None
    ci95: tuple[float, float] | None = None
    tuned: str | None = None


class TuningRecords:
    """The records of one model, target and version, in one directory; each is written whole or not at all."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EdgeMLError(f"cannot write {directory}: {error.strerror or error}") from error

    def load(self, key: str) -> TuningRecord | None:
        """The record of the function with that key; None where there is none that can be read."""
        value = self._read(f"{key}.json")
        try:
            record = TuningRecord(**{field.name: value[field.name] for field in fields(TuningRecord)})
            return TuningRecord(**asdict(record) | {"ci95": None if record.ci95 is None else tuple(record.ci95)})
        except (KeyError, TypeError):
            return None

    def save(self, key: str, record: TuningRecord) -> None:
        """Write the record of one function."""
        atomic_write_text(self._directory / f"{key}.json", json.dumps({"format": _FORMAT, **asdict(record)}))

    def load_times(self) -> dict[str, float]:
        """Seconds that one call of each untuned function takes, by key, as far as they were measured."""
        value = self._read("times.json").get("seconds", {})
        return {key: float(seconds) for key, seconds in value.items()} if isinstance(value, dict) else {}

    def save_times(self, seconds: Mapping[str, float]) -> None:
        """Write the seconds of one call of each untuned function."""
        atomic_write_text(self._directory / "times.json", json.dumps({"format": _FORMAT, "seconds": dict(seconds)}))

    def _read(self, name: str) -> dict[str, Any]:
        try:
            value = json.loads((self._directory / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}  # absent, or of a disk that failed: the function is tuned again
        return value if isinstance(value, dict) and value.get("format") == _FORMAT else {}
