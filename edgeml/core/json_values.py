"""Values from a JSON file that someone else may have written: each is what it should be, or a UsageError says which."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from edgeml.core.errors import UsageError


def mapping(name: str, value: object) -> dict[str, Any]:
    """An object, whatever its keys."""
    if not isinstance(value, dict):
        raise _wrong(name, value, "an object")
    return value


def record(name: str, value: object, keys: Iterable[str]) -> dict[str, Any]:
    """An object with exactly these keys."""
    values = mapping(name, value)
    expected = set(keys)
    if missing := sorted(expected - values.keys()):
        raise UsageError(f"{name} lacks {', '.join(missing)}")
    if unknown := sorted(values.keys() - expected):
        raise UsageError(f"{name} has the unknown key {_shown(unknown[0])}; allowed: {', '.join(sorted(expected))}")
    return values


def items(name: str, value: object) -> list[Any]:
    """A list."""
    if not isinstance(value, list):
        raise _wrong(name, value, "a list")
    return value


def string(name: str, value: object) -> str:
    """A string that can be written to a file (JSON can smuggle in half a character)."""
    if not isinstance(value, str) or any("\ud800" <= character <= "\udfff" for character in value):
        raise _wrong(name, value, "a string")
    return value


def choice(name: str, value: object, allowed: Iterable[str]) -> str:
    """One of the allowed strings."""
    allowed = tuple(allowed)
    if not isinstance(value, str) or value not in allowed:
        raise _wrong(name, value, f"one of {', '.join(allowed)}")
    return value


def pairs(name: str, value: object) -> tuple[tuple[str, str], ...]:
    """The items of an object whose values are strings."""
    return tuple((key, string(f"{name} of {_shown(key)}", each)) for key, each in mapping(name, value).items())


def integer(name: str, value: object) -> int:
    """A whole number that fits 64 bits."""
    if not isinstance(value, int) or isinstance(value, bool) or not -(1 << 63) <= value < 1 << 63:
        raise _wrong(name, value, "a whole number")
    return value


def number(name: str, value: object) -> float:
    """A finite number."""
    if isinstance(value, int) and not isinstance(value, bool):
        return float(integer(name, value))
    if not isinstance(value, float) or not math.isfinite(value):
        raise _wrong(name, value, "a finite number")
    return value


def _wrong(name: str, value: object, allowed: str) -> UsageError:
    return UsageError(f"{name} is {_shown(value)}; it must be {allowed}")


def _shown(value: object) -> str:
    text = repr(value) if isinstance(value, str | float | bool | None) else type(value).__name__
    return text if len(text) <= 80 else text[:77] + "..."
