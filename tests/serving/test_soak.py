"""A short run of soak.py, whose own command line runs the long one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.serving.soak import soak

pytest.importorskip("uvicorn")


@pytest.mark.slow
def test_no_request_is_lost_or_wrong_while_models_are_replaced(tmp_path: Path) -> None:
    report = soak(tmp_path / "models", requests=3000, clients=8, replace_s=0.7, look_s=0.1, reloads=4, wide=3000)
    assert not report.faults, report.faults[:5]
    assert report.answers == report.requests >= 3000
    assert report.exit_code == 0
    assert all(seen > 1 for name, (seen, written) in report.generations.items() if name != "both 2")
