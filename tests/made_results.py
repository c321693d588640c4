"""Benchmark results made by hand, for tests of what reads them: each value may be changed by name."""

from __future__ import annotations

from typing import Any

from edgeml.core.bench_result import BenchResult, Contender, Launch
from edgeml.core.host import HostInfo


def make_host(**changes: Any) -> HostInfo:
    """A quiet machine that tells little of itself."""
    values: dict[str, Any] = {
        "machine": "x86_64",
        "system": "Linux 6.1",
        "cpu_model": "Example CPU",
        "cpu_features": (),
        "logical_cores": 2,
        "available_cores": 2,
        "cgroup_cpu_quota": None,
        "memory_bytes": None,
        "governor": None,
        "frequency_mhz": (),
        "temperature_c": None,
        "load_average": None,
        "virtualized": None,
        "versions": (),
        "time": "2026-01-02T03:04:05+00:00",
    }
    return HostInfo(**values | changes)


def make_launch(**changes: Any) -> Launch:
    """Seventy samples around 2.003 ms, which is enough for a p90."""
    values: dict[str, Any] = {
        "latency_ms": tuple(2.0 + 0.001 * (index % 7) for index in range(70)),
        "block": (0,) * 70,
        "warmup": 1,
        "stable": True,
        "load_ms": 1.0,
        "peak_memory_bytes": 1 << 20,
    }
    return Launch(**values | changes)


def make_contender(**changes: Any) -> Contender:
    """An fp32 network on this machine, launched twice."""
    values: dict[str, Any] = {
        "artifact": "net.onnx",
        "model": "net",
        "precision": "fp32",
        "runtime": "onnxruntime",
        "device": "local",
        "threads": 1,
        "batch": 1,
        "size_bytes": 1000,
        "sha256": "0" * 64,
        "launches": (make_launch(), make_launch()),
        "accuracy": None,
    }
    return Contender(**values | changes)


def make_result(*contenders: Contender, **changes: Any) -> BenchResult:
    """A run of these contenders, by default of one."""
    values: dict[str, Any] = {
        "contenders": contenders or (make_contender(),),
        "comparisons": (),
        "host": make_host(),
        "warnings": (),
    }
    return BenchResult(**values | changes)
