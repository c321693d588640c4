from pathlib import Path

import pytest

from edgeml.core.user_directories import cache_directory


def test_the_cache_follows_the_xdg_specification(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_directory() == tmp_path / "edgeml"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_directory() == Path("/home/somebody/.cache/edgeml")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_directory() == Path("/home/somebody/.cache/edgeml")
