"""The roof over an operator is the lower of the two, and only where both are known."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgeml.core.bench_profile import OperatorTime, Peaks
from edgeml.edge_bench.profile.roofline import under_roofline

PEAKS = Peaks(gflops_float32=100.0, gops_int8=400.0, gigabytes_per_second=10.0, method="made up")
# 1 ms, 20 million operations: 20 GFLOP/s.
OPERATOR = OperatorTime(
    name="a",
    operator="Conv",
    kernel="CPUExecutionProvider",
    precision="float32",
    milliseconds=1.0,
    share=1.0,
    calls=1,
    macs=10_000_000,
    bytes_moved=1_000_000,
    gflops=20.0,
)


@pytest.mark.parametrize(
    ("precision", "bytes_moved", "share", "bound"),
    [
        ("float32", 1_000_000, 0.2, "compute"),  # 20 operations a byte allow 200, the processor 100
        ("float32", 4_000_000, 0.4, "memory"),  # 5 a byte allow 50
        ("uint8", 1_000_000, 0.1, "memory"),  # the processor allows 400, memory 200
        ("int8", 250_000, 0.05, "compute"),
    ],
)
def test_the_lower_roof_counts(precision: str, bytes_moved: int, share: float, bound: str) -> None:
    (found,) = under_roofline([replace(OPERATOR, precision=precision, bytes_moved=bytes_moved)], PEAKS)
    assert found.share_of_roof == pytest.approx(share)
    assert found.bound == bound


@pytest.mark.parametrize(
    "change", [{"macs": None, "gflops": None}, {"bytes_moved": None}, {"precision": "binary"}, {"precision": "float16"}]
)
def test_without_macs_bytes_or_a_peak_nothing_is_said(change: dict[str, object]) -> None:
    operator = replace(OPERATOR, **change)  # type: ignore[arg-type]
    assert under_roofline([operator], PEAKS) == (operator,)


def test_int8_needs_a_peak_of_its_own() -> None:
    operator = replace(OPERATOR, precision="uint8")
    assert under_roofline([operator], replace(PEAKS, gops_int8=None)) == (operator,)
