"""Dataclasses as plain values for JSON and back, by the shape of the dataclass itself."""

from __future__ import annotations

import json
from typing import Any, TypeVar

from edgeml.core.errors import UsageError

T = TypeVar("T")


def plain(value: Any) -> Any:
    """The dataclass as objects, lists and scalars."""
    import msgspec

    return json.loads(json.dumps(msgspec.to_builtins(value)))  # tuples become lists


def restored(name: str, value: object, kind: type[T]) -> T:
    """Inverse of `plain`; a field with a default may be absent.

    Args:
        name: what messages call the value.
        value: what a JSON file held.
        kind: the dataclass.

    Raises:
        UsageError: the value is not of that shape, has a key that the dataclass lacks, or a number that is not finite.
    """
    import msgspec

    try:
        json.dumps(value, allow_nan=False)
        found = msgspec.convert(value, type=kind)
    except (msgspec.ValidationError, ValueError, RecursionError) as error:
        raise UsageError(f"{name} is not of the form this edgeml reads: {error}") from error
    _check_keys(name, value, plain(found))
    return found


def _check_keys(name: str, value: object, known: object) -> None:
    """Refuse what `msgspec.convert` passes over in silence."""
    if isinstance(value, dict) and isinstance(known, dict):
        for key, each in value.items():
            if key not in known:
                raise UsageError(f"{name} has the unknown key {key!r:.80}; allowed: {', '.join(sorted(known))}")
            _check_keys(f"{name}'s {key}", each, known[key])
    elif isinstance(value, list) and isinstance(known, (list, tuple)):
        for each, other in zip(value, known, strict=True):
            _check_keys(name, each, other)
