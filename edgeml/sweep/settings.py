"""The settings of a sweep file that are handed on as options of `edgeml train`, `export`, `compile` and `bench`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgeml.core.errors import UsageError
from edgeml.core.json_values import integer, number, string

Kind = type[bool] | type[int] | type[float] | type[str]

# Table -> setting -> what it is. A setting is the option's name with underscores; the command checks its range.
SETTINGS: dict[str, dict[str, Kind]] = {
    "train": {
        "data": str,
        "recipe": str,
        "epochs": int,
        "batch_size": int,
        "lr": float,
        "tree_weight": float,
        "seed": int,
        "resolution": int,
        "device": str,
        "threads": int,
    },
    "export": {
        "calibration": str,
        "max_accuracy_drop": float,
        "opset": int,
        "static_batch": bool,
        "inline_functions": bool,
    },
    "compile": {"tune": int, "timeout": float, "memory_limit": float, "no_parity": bool},
    "bench": {
        "seconds": float,
        "samples": int,
        "launches": int,
        "batch": int,
        "seed": int,
        "limit": int,
        "scenario": str,
        "target_latency_ms": float,
        "target_qps": float,
        "samples_per_query": int,
        "min_duration": str,
        "sustain": str,
        "profile": bool,
        "energy": bool,
    },
}

Settings = tuple[tuple[str, bool | int | float | str], ...]


def read_settings(table: str, values: Mapping[str, Any]) -> Settings:
    """The settings of one table, checked for name and type.

    Raises:
        UsageError: there is no such setting, or its value is of another type.
    """
    allowed = SETTINGS[table]
    if unknown := [name for name in values if name not in allowed]:
        raise UsageError(f"[{table}] has the unknown setting {unknown[0]!r:.80}; allowed: {', '.join(allowed)}")
    return tuple((name, _read(f"{name} in [{table}]", allowed[name], value)) for name, value in values.items())


def option_words(settings: Settings, leave_out: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The settings as words of a command line: ("--opset", "20", "--static-batch")."""
    words: list[str] = []
    for name, value in settings:
        option = "--" + name.replace("_", "-")
        if name in leave_out or value is False:
            continue
        words += [option] if value is True else [option, str(value)]
    return tuple(words)


def _read(name: str, kind: Kind, value: object) -> bool | int | float | str:
    if kind is bool:
        if not isinstance(value, bool):
            raise UsageError(f"{name} is {value!r:.80}; it must be true or false")
        return value
    if kind is int:
        return integer(name, value)
    if kind is float:
        found = number(name, value)
        return int(found) if found == int(found) else found
    return string(name, value)
