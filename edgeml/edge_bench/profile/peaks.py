"""Measures what the device can do at most: rates of matrix products by onnxruntime, and of copying memory by numpy."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from edgeml.core.bench_profile import Peaks
from edgeml.core.errors import EdgeMLError
from edgeml.core.session import SessionOptions
from edgeml.edge_bench.conditions.environment import available_memory_bytes
from edgeml.edge_bench.profile.probe_models import product_model
from edgeml.runtime.onnxruntime_loading import create_session, failures, reason, session_settings

SIZES = (256, 512, 1024)
"""Rows, columns and depth of the products; the best rate counts."""

BUDGET_S = 0.3
"""Time for one size, or for copying."""

ARRAY_OF_CACHE = 4
"""An array is this many times the last-level cache, the rule of the STREAM benchmark (McCalpin, 1995)."""

_UNKNOWN_CACHE_BYTES = 16 << 20
_SHARE_OF_MEMORY = 0.25
_LEAST_REPEATS = 3


def measure_peaks(threads: int) -> Peaks:
    """The device's peaks with so many threads; takes about two seconds.

    Raises:
        MissingError: onnxruntime or onnx is not installed.
        EdgeMLError: onnxruntime cannot run a float32 product.
    """
    array_bytes, cache_bytes = _array_bytes(Path("/"))
    try:
        gops_int8: float | None = _product_gops(threads, int8=True)
    except EdgeMLError:  # a build of onnxruntime without that operator
        gops_int8 = None
    return Peaks(
        gflops_float32=_product_gops(threads, int8=False),
        gops_int8=gops_int8,
        gigabytes_per_second=_copy_gigabytes_per_second(threads, array_bytes),
        method=(
            f"best of matrix products of {', '.join(map(str, SIZES))} by onnxruntime (MatMul float32; QLinearMatMul "
            f"uint8 by int8) and of copying {array_bytes >> 20} MiB by numpy, {array_bytes / cache_bytes:.2g} times "
            f"the last-level cache, bytes read and written counted; threads: {threads}"
        ),
    )


def last_level_cache_bytes(root: Path = Path("/")) -> int | None:
    """Size of the largest cache of the first core; None where Linux does not tell.

    Args:
        root: the file system's root; tests give another.
    """
    found = []
    for size in (root / "sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        text = size.read_text().strip()
        shift = {"K": 10, "M": 20, "G": 30}.get(text[-1:])
        if shift is not None and text[:-1].isdecimal():
            found.append(int(text[:-1]) << shift)
    return max(found, default=None)


def _array_bytes(root: Path) -> tuple[int, int]:
    """Size of the array to copy, and of the cache it is to exceed."""
    cache_bytes = last_level_cache_bytes(root) or _UNKNOWN_CACHE_BYTES
    wanted = ARRAY_OF_CACHE * cache_bytes
    available = available_memory_bytes(root)
    return (wanted if available is None else min(wanted, int(_SHARE_OF_MEMORY * available))), cache_bytes


def _product_gops(threads: int, *, int8: bool) -> float:
    """Largest rate over the sizes, in 1e9 operations a second; a size that would take too long is left out."""
    best, last_s = 0.0, 0.0
    for size in SIZES:
        if 8 * last_s > BUDGET_S:
            break
        last_s = _product_s(size, threads, int8=int8)
        best = max(best, 2 * size**3 / last_s / 1e9)
    return best


def _product_s(size: int, threads: int, *, int8: bool) -> float:
    """The shortest time of a product of two square matrices."""
    settings = session_settings(SessionOptions(threads=threads))
    session = create_session(product_model(size, int8=int8), settings, Path("a matrix product"))
    factor = np.ones((size, size), np.uint8 if int8 else np.float32)
    try:
        return _best_s(lambda: session.run(None, {"a": factor}))
    except failures() as error:
        raise EdgeMLError(f"onnxruntime failed to run a matrix product: {reason(error)}") from error


def _best_s(call: Callable[[], object]) -> float:
    """The shortest of the calls that fit the time, after one that is dropped."""
    call()
    times: list[float] = []
    end = time.perf_counter() + BUDGET_S
    while len(times) < _LEAST_REPEATS or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def _copy_gigabytes_per_second(threads: int, array_bytes: int) -> float:
    """Rate of copying, each thread its part: numpy lets go of Python's lock while it copies."""
    part = max(1, array_bytes // threads // 8)
    parts = [(np.ones(part), np.zeros(part)) for _ in range(threads)]
    with ThreadPoolExecutor(threads) as pool:

        def copy() -> None:
            for done in [pool.submit(np.copyto, target, source) for source, target in parts]:
                done.result()

        return 2 * 8 * part * threads / _best_s(copy) / 1e9
