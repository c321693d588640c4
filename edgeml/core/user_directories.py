"""The directories of the user's machine that edgeml keeps files in, by the XDG base directory specification."""

from __future__ import annotations

import os
from pathlib import Path


def cache_directory() -> Path:
    """What can be fetched or made again: `$XDG_CACHE_HOME/edgeml`, else `~/.cache/edgeml`; it need not exist yet."""
    return _directory("XDG_CACHE_HOME", ".cache")


def config_directory() -> Path:
    """What the user decided: `$XDG_CONFIG_HOME/edgeml`, else `~/.config/edgeml`; it need not exist yet."""
    return _directory("XDG_CONFIG_HOME", ".config")


def data_directory() -> Path:
    """What cannot be made again: `$XDG_DATA_HOME/edgeml`, else `~/.local/share/edgeml`; it need not exist yet."""
    return _directory("XDG_DATA_HOME", ".local/share")


def _directory(variable: str, default: str) -> Path:
    base = os.environ.get(variable, "")
    # The specification has relative paths ignored.
    return (Path(base) if Path(base).is_absolute() else Path.home() / default) / "edgeml"
