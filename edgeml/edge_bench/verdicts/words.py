"""How a verdict writes ratios and differences of accuracy: with as many digits as keep them from saying more."""

from __future__ import annotations

from edgeml.core.bench_result import Comparison


def points(difference: float | None) -> float | None:
    """A difference of shares in percentage points; rounded so that 0.005 is half a point and not a hair more."""
    return None if difference is None else round(100 * difference, 9)


def times(ratio: float, low: float, high: float) -> str:
    """A ratio above 1 with its interval, with as many digits as keep the interval visibly clear of 1."""
    digits = 1
    while float(f"{low:.{digits}f}") <= 1 or (digits < 2 and f"{low:.{digits}f}" == f"{high:.{digits}f}"):
        digits += 1
    return f"{ratio:.{digits}f}x [{low:.{digits}f}, {high:.{digits}f}]"


def speed(comparison: Comparison, name: str, baseline: str) -> str | None:
    """Such as: a is 2.0x [1.9, 2.1] faster than b, or slower; None where no difference in latency was shown."""
    low, high = comparison.ci95
    if comparison.verdict == "faster" and low > 1:
        return f"{name} is {times(comparison.ratio, low, high)} faster than {baseline}"
    if comparison.verdict == "slower" and high < 1:
        slowdown = times(inverse(comparison.ratio), inverse(high), inverse(low))
        return f"{name} is {slowdown} slower than {baseline}"
    return None


def no_speed(comparison: Comparison, name: str, baseline: str) -> str:
    """What is said where no difference in latency was shown."""
    low, high = comparison.ci95
    ratio = f"ratio {comparison.ratio:.2f} [{low:.2f}, {high:.2f}]"
    return f"{name}: no difference in latency from {baseline} shown ({ratio})"


def accuracy_clause(comparison: Comparison, tolerance_points: float) -> str:
    """Such as: at -0.1 points [-0.3, +0.1], or that accuracy was not measured."""
    difference = points(comparison.accuracy_difference)
    if difference is None:
        return ", accuracy not measured"
    digits = 1
    # A loss just beyond the tolerance must not be printed as if it were the tolerance (and the other way round).
    while digits < 6 and (float(f"{difference:.{digits}f}") < -tolerance_points) != (difference < -tolerance_points):
        digits += 1
    clause = f" at {signed(difference, digits)} points"
    if comparison.accuracy_ci95 is not None:
        low, high = (100 * bound for bound in comparison.accuracy_ci95)
        clause += f" [{signed(low, digits)}, {signed(high, digits)}]"
    return clause


def signed(value: float, digits: int) -> str:
    """A number with its sign, and 0 without one."""
    text = f"{value:+.{digits}f}"
    return text[1:] if float(text) == 0 else text


def inverse(ratio: float) -> float:
    """1 / ratio; infinite for 0."""
    return 1 / ratio if ratio > 0 else float("inf")
