"""The demo's choices; the whole of it runs in test_readme.py."""

from __future__ import annotations

import pytest

from edgeml.cli import demo
from edgeml.core.errors import MissingError


def test_without_fashion_mnist_the_demo_goes_on_with_digits_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def offline(spec: str) -> None:
        raise MissingError(f"{spec} cannot be downloaded")

    monkeypatch.setattr("edgeml.models.datasets.open_dataset", offline)
    assert demo._available("fashion-mnist") == "digits"
    told = capsys.readouterr().err
    assert "cannot be downloaded" in told
    assert "digits" in told


def test_without_digits_the_demo_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(spec: str) -> None:
        raise MissingError(f"{spec} needs scikit-learn")

    monkeypatch.setattr("edgeml.models.datasets.open_dataset", missing)
    with pytest.raises(MissingError):
        demo._available("digits")
