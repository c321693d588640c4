"""Keeps TVM, which these tests import when they are read, out of runs that do not test it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Whether the directory is passed over; None leaves the decision to pytest."""
    return True if "not tvm" in config.option.markexpr or importlib.util.find_spec("tvm") is None else None
