"""The roofline: what a device allows an operator at most, by its arithmetic and by the bytes it moves.

Williams, Waterman and Patterson, "Roofline: an insightful visual performance model for multicore architectures", CACM
52(4), 2009: an operator of I operations a byte runs at no more than min(peak, I * bandwidth).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from edgeml.core.bench_profile import OperatorTime, Peaks

_FLOAT = frozenset({"float32"})
_CODES = frozenset({"int8", "uint8"})


def under_roofline(operators: Iterable[OperatorTime], peaks: Peaks) -> tuple[OperatorTime, ...]:
    """The operators with `share_of_roof` and `bound`, where macs, bytes and a peak of their precision are known.

    The share can exceed 1: the bandwidth is that of memory, and data that one operator leaves in the caches comes to
    the next one faster.
    """
    return tuple(_under(operator, peaks) for operator in operators)


def peak_gops(precision: str, peaks: Peaks) -> float | None:
    """The compute roof for operators that read this dtype, in 1e9 operations a second; None without one."""
    if precision in _FLOAT:
        return peaks.gflops_float32
    return peaks.gops_int8 if precision in _CODES else None


def _under(operator: OperatorTime, peaks: Peaks) -> OperatorTime:
    peak = peak_gops(operator.precision, peaks)
    if peak is None or operator.gflops is None or not operator.macs or not operator.bytes_moved:
        return operator
    by_memory = 2 * operator.macs / operator.bytes_moved * peaks.gigabytes_per_second
    return replace(
        operator,
        share_of_roof=operator.gflops / min(peak, by_memory),
        bound="compute" if peak <= by_memory else "memory",
    )
