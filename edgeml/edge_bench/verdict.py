"""What a run says about each contender, as one sentence a reader can act on: does it pay, and how sure is that?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from edgeml.core.bench_result import BenchResult, Comparison, Contender
from edgeml.edge_bench.labels import contender_labels

Outcome = Literal["baseline", "pays", "does not pay", "trade", "no difference shown", "not compared"]

ACCURACY_TOLERANCE_POINTS = 0.5
_SIZE_RATIO_WORTH_TELLING = 1.1
# How those of a run's warnings begin that make latencies less certain than their intervals say.
_NOISE_WORDS = ("noisy", "throttled", "drift", "bimodal", "latency had not settled")


@dataclass(frozen=True, kw_only=True)
class ContenderVerdict:
    """The judgement on one contender.

    Attributes:
        contender: index into the run's contenders.
        baseline: index of the contender it was judged against; its own index where it is the baseline.
        outcome: the judgement in a word or two.
        sentence: the judgement with its figures, without a full stop.
        notes: further whole sentences: file size, hedges.
    """

    contender: int
    baseline: int
    outcome: Outcome
    sentence: str
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " ".join((f"{self.sentence}.", *self.notes))


def verdicts(
    result: BenchResult,
    *,
    labels: Sequence[str] | None = None,
    tolerance_points: float = ACCURACY_TOLERANCE_POINTS,
) -> tuple[ContenderVerdict, ...]:
    """One verdict a contender, in the order of the contenders.

    A contender pays where it is faster than its baseline with an interval that excludes 1, and its accuracy is at most
    `tolerance_points` lower (or was not measured, which the sentence then says). Where two different networks are
    compared, speed against accuracy is called a trade instead of a failure: both may have their place.

    Args:
        result: the run.
        labels: what to call each contender; by default the shortest names that tell them apart.
        tolerance_points: accuracy loss, in percentage points, that is still accepted.
    """
    names = contender_labels(result.contenders) if labels is None else labels
    return tuple(_judge(result, index, names, tolerance_points) for index in range(len(result.contenders)))


def baseline_index(contenders: Sequence[Contender], index: int) -> int:
    """The contender that `index` is judged against: fp32 of the same configuration, else the first of the run."""
    contender = contenders[index]
    if contender.precision != "fp32":
        for other, candidate in enumerate(contenders):
            if candidate.precision == "fp32" and _configuration(candidate) == _configuration(contender):
                return other
    return 0


def _configuration(contender: Contender) -> tuple[str | int, ...]:
    return (contender.model, contender.runtime, contender.device, contender.threads, contender.batch)


def comparison_between(result: BenchResult, a: int, b: int) -> Comparison | None:
    """The run's comparison of contender `a` against `b`, turned round where it was made the other way."""
    for comparison in result.comparisons:
        if (comparison.a, comparison.b) == (a, b):
            return comparison
        if (comparison.a, comparison.b) == (b, a):
            return _turned(comparison)
    return None


def _turned(comparison: Comparison) -> Comparison:
    low, high = comparison.ci95
    difference, interval = comparison.accuracy_difference, comparison.accuracy_ci95
    match comparison.verdict:
        case "faster":
            verdict: Literal["faster", "slower", "no difference shown"] = "slower"
        case "slower":
            verdict = "faster"
        case _:
            verdict = "no difference shown"
    return Comparison(
        a=comparison.b,
        b=comparison.a,
        ratio=_inverse(comparison.ratio),
        ci95=(_inverse(high), _inverse(low)),
        verdict=verdict,
        accuracy_difference=None if difference is None else -difference,
        accuracy_ci95=None if interval is None else (-interval[1], -interval[0]),
    )


def _inverse(ratio: float) -> float:
    return 1 / ratio if ratio > 0 else float("inf")


def _judge(result: BenchResult, index: int, names: Sequence[str], tolerance_points: float) -> ContenderVerdict:
    contenders = result.contenders
    baseline = baseline_index(contenders, index)
    if baseline == index:
        return ContenderVerdict(
            contender=index,
            baseline=index,
            outcome="baseline",
            sentence=f"{names[index]} is the baseline",
            notes=_noise_notes(result, index),
        )
    comparison = comparison_between(result, index, baseline)
    if comparison is None:
        return ContenderVerdict(
            contender=index,
            baseline=baseline,
            outcome="not compared",
            sentence=f"{names[index]} was not compared with {names[baseline]} in this run",
            notes=_noise_notes(result, index),
        )
    same_model = contenders[index].model == contenders[baseline].model
    outcome, sentence = _sentence(comparison, names[index], names[baseline], tolerance_points, same_model=same_model)
    return ContenderVerdict(
        contender=index,
        baseline=baseline,
        outcome=outcome,
        sentence=sentence,
        notes=(
            *_size_notes(contenders[index], contenders[baseline]),
            *_accuracy_notes(comparison, tolerance_points, outcome),
            *_noise_notes(result, index, baseline),
        ),
    )


def _sentence(
    comparison: Comparison, name: str, baseline: str, tolerance_points: float, *, same_model: bool
) -> tuple[Outcome, str]:
    points = _points(comparison.accuracy_difference)
    at = _accuracy_clause(comparison, tolerance_points)
    low, high = comparison.ci95
    loses_too_much = points is not None and points < -tolerance_points
    if comparison.verdict == "faster" and low > 1:
        opening = f"{name} is {_times(comparison.ratio, low, high)} faster than {baseline}{at}"
        if not loses_too_much:
            return "pays", f"{opening}: it pays" + (" if its accuracy holds" if points is None else "")
        if not same_model:
            return "trade", f"{opening}: it trades accuracy for speed"
        return "does not pay", f"{opening}, more than the {tolerance_points:g} points allowed: it does not pay"
    if comparison.verdict == "slower" and high < 1:
        slowdown = _times(_inverse(comparison.ratio), _inverse(high), _inverse(low))
        opening = f"{name} is {slowdown} slower than {baseline}{at}"
        if points is not None and points > 0 and _excludes_zero(comparison.accuracy_ci95) and not same_model:
            return "trade", f"{opening}: it trades speed for accuracy"
        return "does not pay", f"{opening}: it does not pay"
    ratio = f"ratio {comparison.ratio:.2f} [{low:.2f}, {high:.2f}]"
    return "no difference shown", f"{name}: no difference in latency from {baseline} shown ({ratio}){at}"


def _points(difference: float | None) -> float | None:
    """A difference of shares in percentage points; rounded so that 0.005 is half a point and not a hair more."""
    return None if difference is None else round(100 * difference, 9)


def _excludes_zero(interval: tuple[float, float] | None) -> bool:
    return interval is not None and (interval[0] > 0 or interval[1] < 0)


def _times(ratio: float, low: float, high: float) -> str:
    """A ratio above 1 with its interval, with as many digits as keep the interval visibly clear of 1."""
    digits = 1
    while float(f"{low:.{digits}f}") <= 1 or (digits < 2 and f"{low:.{digits}f}" == f"{high:.{digits}f}"):
        digits += 1
    return f"{ratio:.{digits}f}x [{low:.{digits}f}, {high:.{digits}f}]"


def _accuracy_clause(comparison: Comparison, tolerance_points: float) -> str:
    points = _points(comparison.accuracy_difference)
    if points is None:
        return ", accuracy not measured"
    digits = 1
    # A loss just beyond the tolerance must not be printed as if it were the tolerance (and the other way round).
    while digits < 6 and (float(f"{points:.{digits}f}") < -tolerance_points) != (points < -tolerance_points):
        digits += 1
    clause = f" at {_signed(points, digits)} points"
    if comparison.accuracy_ci95 is not None:
        low, high = (100 * bound for bound in comparison.accuracy_ci95)
        clause += f" [{_signed(low, digits)}, {_signed(high, digits)}]"
    return clause


def _signed(value: float, digits: int) -> str:
    text = f"{value:+.{digits}f}"
    return text[1:] if float(text) == 0 else text


def _size_notes(contender: Contender, baseline: Contender) -> tuple[str, ...]:
    if contender.size_bytes <= 0 or baseline.size_bytes <= 0:
        return ()
    ratio = baseline.size_bytes / contender.size_bytes
    if ratio >= _SIZE_RATIO_WORTH_TELLING:
        return (f"Its file is {ratio:.1f}x smaller.",)
    if 1 / ratio >= _SIZE_RATIO_WORTH_TELLING:
        return (f"Its file is {1 / ratio:.1f}x larger.",)
    return ()


def _accuracy_notes(comparison: Comparison, tolerance_points: float, outcome: Outcome) -> tuple[str, ...]:
    interval = comparison.accuracy_ci95
    if outcome == "pays" and interval is not None and round(100 * interval[0], 9) < -tolerance_points:
        return (f"A loss of more than {tolerance_points:g} points is not excluded.",)
    return ()


def _noise_notes(result: BenchResult, *indices: int) -> tuple[str, ...]:
    """A hedge where the run's warnings speak of noise: of the whole run, or of one of these contenders."""
    own_names = contender_labels(result.contenders)
    prefixes = ("", *(f"{own_names[index]}: " for index in indices))
    starts = tuple(prefix + word for prefix in prefixes for word in _NOISE_WORDS)
    if any(warning.startswith(starts) for warning in result.warnings):
        return ("The measurement was noisy: read this with care.",)
    return ()
