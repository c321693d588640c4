"""The tables of where time goes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgeml.cli.bench_profile import print_profile
from edgeml.core.bench_profile import OperatorTime, Peaks, Profile
from edgeml.core.bench_result import BenchResult
from tests.made_results import make_contender, make_result


def operator(name: str, milliseconds: float, **values: object) -> OperatorTime:
    fields = {
        "name": name,
        "operator": "Conv",
        "kernel": "CPUExecutionProvider",
        "precision": "float32",
        "milliseconds": milliseconds,
        "share": milliseconds / 10,
        "calls": 1,
    }
    return OperatorTime(**fields | values)  # type: ignore[arg-type]


def result(profile: Profile | None) -> BenchResult:
    return make_result(make_contender(precision="int8", launches=(), profile=profile))


def profile(*operators: OperatorTime) -> Profile:
    peaks = Peaks(gflops_float32=200.0, gops_int8=800.0, gigabytes_per_second=20.0, method="made up")
    return Profile(source="onnxruntime's profiler", runs=30, run_ms=12.0, operators=operators, peaks=peaks)


def test_the_longest_operators_come_first_and_the_others_in_one_row(capsys: pytest.CaptureFixture[str]) -> None:
    small = [operator(f"small[{index}]", 0.1) for index in range(20)]
    large = operator("large", 8.0, macs=800_000_000, gflops=200.0, share_of_roof=1.25, bound="memory")
    print_profile(result(profile(*small, large)))
    lines = capsys.readouterr().out.splitlines()
    names = [line.split()[1] for line in lines if "CPU" in line]
    assert names[:2] == ["large", "small[0]"]
    assert len(names) == 15
    row = next(line for line in lines if "large" in line)
    assert "8.000 ms" in row
    assert "80.0%" in row
    assert "125% (memory)" in row
    assert any("6 more" in line and "600.0 us" in line for line in lines)
    assert "operators 10.000 ms, a run while profiling 12.000 ms; 30 runs" in lines
    assert "800.0 million multiply-accumulates, 160 GOP/s" in lines
    assert "peaks 200 GFLOP/s float32, 800 GOP/s int8, 20.0 GB/s memory" in lines


def test_time_that_is_not_spent_as_asked_is_added_up(capsys: pytest.CaptureFixture[str]) -> None:
    reason = "float32 in an int8 model"
    print_profile(result(profile(operator("a", 4.0, fallback=reason), operator("b", 6.0, fallback=reason))))
    assert f"100.0% of the time: {reason}" in capsys.readouterr().out.splitlines()


def test_nothing_is_printed_where_nothing_was_measured(capsys: pytest.CaptureFixture[str]) -> None:
    print_profile(result(None))
    assert capsys.readouterr().out == ""


def test_no_time_and_no_operators_are_no_accident(capsys: pytest.CaptureFixture[str]) -> None:
    print_profile(result(replace(profile(operator("a", 0.0, macs=5)), peaks=None)))
    print_profile(result(profile()))
    assert "operators 0.0 us" in capsys.readouterr().out
