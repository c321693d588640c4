"""The memory setting is accepted where there is glibc and is no error elsewhere."""

from __future__ import annotations

import platform

import pytest

from edgeml.models.training.allocator import keep_freed_memory


def test_it_can_be_called_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    keep_freed_memory()
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    keep_freed_memory()
