"""What a profiler adds is measured, so that it can be taken off."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edgeml.core.errors import MissingError
from edgeml.edge_bench.profile import tracing_cost
from edgeml.edge_bench.profile.probe_models import chain_model, import_onnx, product_model
from edgeml.edge_bench.profile.trace import Trace, read_trace
from edgeml.edge_bench.profile.tracing_cost import tracing_ms


def test_the_profiler_takes_microseconds_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert 0 <= tracing_ms(1) < 1
    assert list(tmp_path.iterdir()) == []


def test_a_profiler_that_adds_nothing_takes_nothing_off(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_time(path: Path, *, runs: int) -> Trace:
        trace = read_trace(path, runs=runs)
        return replace(trace, nodes=tuple(replace(node, milliseconds=0.0) for node in trace.nodes))

    monkeypatch.setattr(tracing_cost, "read_trace", no_time)
    assert tracing_ms(1) == 0


def test_probes_are_valid_models() -> None:
    onnx = import_onnx()
    for content in (chain_model(7), product_model(8, int8=False), product_model(8, int8=True)):
        onnx.checker.check_model(onnx.load_from_string(content), full_check=True)


def test_a_missing_onnx_is_told_with_the_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(MissingError, match="onnx is not installed; install it with: pip install onnx"):
        chain_model(3)
