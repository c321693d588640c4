"""Reads what LoadGen wrote: its detail log, one JSON object a line after the mark ":::MLLOG"."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeml.core.errors import EdgeMLError

DETAIL_LOG = "mlperf_log_detail.txt"
MARK = ":::MLLOG "


@dataclass(frozen=True, kw_only=True)
class LoadGenLog:
    """What one run of LoadGen wrote.

    Attributes:
        values: what was logged, by key; the last value where there were several.
        errors: what LoadGen met with that makes a run worthless or ended it early, a sentence each.
    """

    values: dict[str, Any]
    errors: tuple[str, ...]

    @property
    def valid(self) -> bool:
        """LoadGen's verdict."""
        return bool(self.values["result_validity"] == "VALID")

    @property
    def min_duration_met(self) -> bool:
        """Whether queries were sent for as long as was asked."""
        return self.flag("result_min_duration_met")

    def flag(self, key: str) -> bool:
        """A truth value; True where it is not logged, as what does not apply to a scenario."""
        return bool(self.values.get(key, True))

    def text(self, key: str) -> str:
        """A string as one line; "" where it is not logged."""
        return " ".join(str(self.values.get(key, "")).split())

    def number(self, key: str) -> float:
        """A finite number.

        Raises:
            EdgeMLError: it is not logged.
        """
        value = self.values.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise EdgeMLError(f"LoadGen's log has no {key}; edgeml reads the logs of LoadGen 5 and 6")
        return float(value)


def read_log(directory: Path) -> LoadGenLog:
    """The detail log of a run that has ended.

    Raises:
        EdgeMLError: there is none, or it holds no verdict.
    """
    try:
        lines = (directory / DETAIL_LOG).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise EdgeMLError(f"LoadGen wrote no log: {error}") from error
    values: dict[str, Any] = {}
    errors: list[str] = []
    for line in lines:
        entry = _entry(line)
        if entry is None:
            continue
        values[entry["key"]] = entry["value"]
        if entry.get("metadata", {}).get("is_error") is True:
            errors.append(" ".join(str(entry["value"]).split()))
    if values.get("result_validity") not in {"VALID", "INVALID"}:
        reason = f": {errors[-1]}" if errors else "; is there space left where temporary files go?"
        raise EdgeMLError(f"LoadGen ended without a verdict{reason}")
    return LoadGenLog(values=values, errors=tuple(errors))


def _entry(line: str) -> dict[str, Any] | None:
    """A line's object; None for what is none, such as a value that LoadGen prints as nan, which is no JSON."""
    if not line.startswith(MARK):
        return None
    try:
        entry = json.loads(line.removeprefix(MARK))
    except ValueError:
        return None
    return entry if isinstance(entry, dict) and "key" in entry and "value" in entry else None
