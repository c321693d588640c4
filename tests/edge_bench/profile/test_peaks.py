"""Peaks are measured with what the device has, and the arrays copied exceed its caches."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeml.edge_bench.profile import peaks
from edgeml.edge_bench.profile.peaks import last_level_cache_bytes, measure_peaks


def write_caches(root: Path, *sizes: str) -> None:
    for index, size in enumerate(sizes):
        directory = root / f"sys/devices/system/cpu/cpu0/cache/index{index}"
        directory.mkdir(parents=True)
        (directory / "size").write_text(f"{size}\n")


def test_the_last_level_cache_is_the_largest(tmp_path: Path) -> None:
    assert last_level_cache_bytes(tmp_path) is None
    write_caches(tmp_path, "48K", "32K", "1024K", "32M", "odd")
    assert last_level_cache_bytes(tmp_path) == 32 << 20


def test_rates_are_those_of_work_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peaks, "BUDGET_S", 0.01)
    monkeypatch.setattr(peaks, "SIZES", (64,))
    monkeypatch.setattr(peaks, "last_level_cache_bytes", lambda root: 1 << 18)
    found = measure_peaks(2)
    assert found.gflops_float32 > 0.01
    assert found.gops_int8 is not None
    assert found.gops_int8 > 0.01
    assert found.gigabytes_per_second > 0.01
    assert "1 MiB by numpy, 4 times the last-level cache" in found.method
    assert "threads: 2" in found.method


def test_a_small_memory_bounds_the_array(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write_caches(tmp_path, "32M")
    monkeypatch.setattr(peaks, "available_memory_bytes", lambda root: 64 << 20)
    assert peaks._array_bytes(tmp_path) == (16 << 20, 32 << 20)


def test_large_products_are_left_out_on_a_slow_device(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []

    def product_s(size: int, threads: int, *, int8: bool) -> float:
        taken.append(size)
        return 0.1

    monkeypatch.setattr(peaks, "_product_s", product_s)
    assert peaks._product_gops(1, int8=False) == pytest.approx(2 * 256**3 / 0.1 / 1e9)
    assert taken == [256]
