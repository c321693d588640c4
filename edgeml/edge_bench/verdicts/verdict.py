"""What a run says about each contender, as one sentence a reader can act on: does it pay, and how sure is that?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from edgeml.core.bench_result import BenchResult, Comparison, Contender
from edgeml.edge_bench.verdicts.comparisons import comparison_between
from edgeml.edge_bench.verdicts.labels import contender_labels
from edgeml.edge_bench.verdicts.pay_off import pay_offs, peer_index
from edgeml.edge_bench.verdicts.words import accuracy_clause, no_speed, points, speed

Outcome = Literal["baseline", "pays", "does not pay", "trade", "no difference shown", "not compared", "not shown"]

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
    compared, speed against accuracy is called a trade instead of a failure: both may have their place. A binary network
    is judged by `edgeml.edge_bench.verdicts.pay_off` where its int8 peer is in the run.

    Args:
        result: the run.
        labels: what to call each contender; by default the shortest names that tell them apart.
        tolerance_points: accuracy loss, in percentage points, that is still accepted.
    """
    names = contender_labels(result.contenders) if labels is None else labels
    return tuple(_judge(result, index, names, tolerance_points) for index in range(len(result.contenders)))


def baseline_index(contenders: Sequence[Contender], index: int) -> int:
    """The contender that `index` is judged against.

    A binary network's int8 peer; fp32 of the same configuration for any other; else the first of the run that is not
    binary, if there is one.
    """
    contender = contenders[index]
    peer = peer_index(contenders, index)
    if peer is not None:
        return peer
    if contender.precision != "fp32":
        for other, candidate in enumerate(contenders):
            if candidate.precision == "fp32" and _configuration(candidate) == _configuration(contender):
                return other
    return next((other for other, candidate in enumerate(contenders) if not candidate.binary), 0)


def _configuration(contender: Contender) -> tuple[str | int, ...]:
    return (contender.model, contender.runtime, contender.device, contender.threads, contender.batch)


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
    if peer_index(contenders, index) == baseline:
        (paid,) = (each for each in pay_offs(result, labels=names) if each.contender == index)
        assert paid.outcome != "unknown"
        outcome: Outcome = paid.outcome
        sentence = paid.sentence
    else:
        same_model = contenders[index].model == contenders[baseline].model
        outcome, sentence = _sentence(
            comparison, names[index], names[baseline], tolerance_points, same_model=same_model
        )
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
    lost = points(comparison.accuracy_difference)
    at = accuracy_clause(comparison, tolerance_points)
    told = speed(comparison, name, baseline)
    if told is None:
        return "no difference shown", f"{no_speed(comparison, name, baseline)}{at}"
    opening = f"{told}{at}"
    if comparison.verdict == "faster":
        if lost is None or lost >= -tolerance_points:
            return "pays", f"{opening}: it pays" + (" if its accuracy holds" if lost is None else "")
        if not same_model:
            return "trade", f"{opening}: it trades accuracy for speed"
        return "does not pay", f"{opening}, more than the {tolerance_points:g} points allowed: it does not pay"
    if lost is not None and lost > 0 and _excludes_zero(comparison.accuracy_ci95) and not same_model:
        return "trade", f"{opening}: it trades speed for accuracy"
    return "does not pay", f"{opening}: it does not pay"


def _excludes_zero(interval: tuple[float, float] | None) -> bool:
    return interval is not None and (interval[0] > 0 or interval[1] < 0)


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
