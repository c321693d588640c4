"""The networks edgeml knows by name: one dict, one decorator."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from edgeml.core.errors import UsageError
from edgeml.models.network import Network


class Builder(Protocol):
    """Makes a network with fresh weights."""

    def __call__(self, *, classes: int | None, in_channels: int | None, resolution: int | None) -> Network:
        """The network; None asks for its own default."""
        ...


@dataclass(frozen=True)
class Entry:
    """One registered network."""

    name: str
    family: str
    build: Builder


_ENTRIES: dict[str, Entry] = {}
# Modules that register networks when they are imported. They import torch only inside their builders.
_MODULES = ("edgeml.models.tinynet.family", "edgeml.models.binary.family", "edgeml.models.video.family")


def register(name: str, *, family: str) -> Callable[[Builder], Builder]:
    """Decorator that makes the builder below it known as `name`."""

    def decorate(build: Builder) -> Builder:
        assert name not in _ENTRIES, f"two networks are called {name}"
        _ENTRIES[name] = Entry(name, family, build)
        return build

    return decorate


def names() -> list[str]:
    """The names of all networks, module by module in the order they were registered; imports nothing heavy."""
    for module in _MODULES:
        importlib.import_module(module)
    # Not the order of registration alone: who imports one of the modules first must not change what is listed.
    return sorted(_ENTRIES, key=lambda name: _place(_ENTRIES[name]))


def _place(entry: Entry) -> int:
    module = entry.build.__module__
    return _MODULES.index(module) if module in _MODULES else len(_MODULES)


def find(name: str) -> Entry:
    """The network called `name`, which may be a scaled one ("tinynet-r128-w0.5-d0.8").

    Raises:
        UsageError: there is none; the nearest names are told.
    """
    known = names()
    if name in _ENTRIES:
        return _ENTRIES[name]

    from edgeml.models.tinynet.config import SCALED_NAME_FORM, SCALED_PREFIX
    from edgeml.models.tinynet.family import scaled

    if name.startswith(SCALED_PREFIX):
        return Entry(name, "tinynet", scaled(name))
    near = difflib.get_close_matches(name.lower().replace("_", "-"), known, n=3)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    raise UsageError(
        f"unknown network {name!r}{hint}; known: {', '.join(known)}, {SCALED_NAME_FORM}; "
        "other sources are timm:NAME, file.py:factory and module:factory"
    )
