"""Puts the stand-in for adb on the PATH, with a device attached."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

SERIAL = "0123456789ABCDEF"
FAKE = Path(__file__).parent / "fake_adb.py"


def attach_device(directory: Path, monkeypatch: pytest.MonkeyPatch, state: str = "device") -> Path:
    """The directory whose files tell what the device is like, see `fake_adb`."""
    home = directory / "fake-adb"
    (home / "home").mkdir(parents=True)
    (home / "devices").write_text(f"{SERIAL}\t{state}\n")
    (home / "features").write_text("shell_v2\ncmd\nstat_v2\n")
    programs = directory / "programs"
    programs.mkdir()
    adb = programs / "adb"
    python = shutil.which(sys.executable)
    adb.write_text(f'#!/bin/sh\nexec "{python}" -I -S "{FAKE}" "$@"\n')
    adb.chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    monkeypatch.setenv("FAKE_ADB", str(home))
    return home
