"""Compares results that were measured apart: the same contenders before and after a change, contender by contender.

`edgeml bench` takes the samples of its contenders in turn, so that what slows the machine slows all of them. Runs made
apart are compared by `edgeml.edge_bench.statistics_apart`, after `edgeml.edge_bench.context` found them to be alike in
all that is known of them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from edgeml.core.bench_result import Accuracy, BenchResult, Comparison, Contender
from edgeml.core.errors import UsageError
from edgeml.edge_bench.accuracy import paired_difference
from edgeml.edge_bench.context import ContextDifference, context_differences
from edgeml.edge_bench.statistics import holm, verdicts
from edgeml.edge_bench.statistics_apart import compare_apart, exceeds_probability
from edgeml.edge_bench.verdicts.labels import contender_labels

GATE_ERROR = 0.025
"""Chance that the gate fails although no contender is slower than allowed."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """One contender, before and after.

    Attributes:
        label: what to call it.
        before: the contender in each run of the baseline.
        after: the contender in each run that is judged.
        comparison: `after` against `before`: "faster" is `after`; its indices are those in the first run of either.
        regressed: whether it is slower than the regression allowed, by the interval; False where none was stated.
        suspected: whether only the ratio itself, not its interval, lies beyond the regression allowed.
    """

    label: str
    before: tuple[Contender, ...]
    after: tuple[Contender, ...]
    comparison: Comparison
    regressed: bool
    suspected: bool

    @property
    def same_file(self) -> bool:
        """Whether all are one model file, so that only the machine or its software can have changed."""
        return len({contender.sha256 for contender in (*self.before, *self.after)}) == 1


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What became of a baseline.

    Attributes:
        changes: one a contender that both have.
        context: conditions that differ.
        unmatched: contenders that are not compared, with the reason, a sentence each.
    """

    changes: tuple[Change, ...]
    context: tuple[ContextDifference, ...]
    unmatched: tuple[str, ...]

    @property
    def regressed(self) -> bool:
        """Whether any contender is slower than the regression allowed."""
        return any(change.regressed for change in self.changes)


@dataclass(frozen=True)
class _Found:
    """A contender where it was found."""

    run: int
    index: int
    contender: Contender


_Pair = tuple[list[_Found], list[_Found]]  # one contender in the runs of the baseline, and in those that are judged


def compare_results(
    baseline: Sequence[BenchResult],
    judged: Sequence[BenchResult],
    *,
    regression_percent: float | None = None,
    ignore_context: bool = False,
) -> Changes:
    """Compare the contenders of a baseline with the same contenders measured later.

    Contenders are the same where model, precision, runtime, threads and batch are, on the same device where there are
    several; of those alike in one run the first is compared with the first. Runs that hold the same contender on the
    same device repeat each other. Verdicts are as in a run: Holm's correction for the number of contenders, and nothing
    below 1% is called a difference.

    A contender has regressed where the whole interval of how much slower it is lies beyond the regression allowed: the
    test is one-sided, at `GATE_ERROR`, with Holm's correction. So the gate fails by chance in at most 2.5% of
    comparisons, however near to the allowance the truth is. The other way, to fail where the ratio lies beyond the
    allowance and its interval excludes 1, finds more, but fails half of those that are exactly as slow as allowed.

    Args:
        baseline: the runs of the baseline: on several devices, or repeated.
        judged: the same of what is judged.
        regression_percent: how much longer a run may take, in percent of the baseline's; None states nothing.
        ignore_context: compare although conditions differ.

    Raises:
        UsageError: no contender is in both, a contender has a single launch, or conditions differ.
    """
    by_device = len({each.device for result in (*baseline, *judged) for each in result.contenders}) > 1
    if len(baseline) == len(judged) == 1:
        by_device = False  # where the one device has another name, the context says so
    before, after = _contenders(baseline, by_device=by_device), _contenders(judged, by_device=by_device)
    pairs = [(before[key], after[key]) for key in before if key in after]
    unmatched = [
        *(f"{_name(before[key][0].contender)} is in the baseline only" for key in before if key not in after),
        *(f"{_name(after[key][0].contender)} is in the judged results only" for key in after if key not in before),
    ]
    measured = [pair for pair in pairs if all(found.contender.launches for side in pair for found in side)]
    unmatched += [
        f"{_name(pair[1][0].contender)} has no latency on its device" for pair in pairs if pair not in measured
    ]
    if not measured:
        raise UsageError(f"there is nothing to compare: {'; '.join(unmatched)}")
    context = _context(baseline, judged, measured)
    if context and not ignore_context:
        raise UsageError(
            f"the two were measured under different conditions: {', '.join(map(str, context))}; measure both alike, or "
            "compare all the same with --ignore-context"
        )
    return Changes(changes=_changes(measured, regression_percent), context=context, unmatched=tuple(unmatched))


def _contenders(runs: Sequence[BenchResult], *, by_device: bool) -> dict[tuple[object, ...], list[_Found]]:
    """The contenders of each kind, one a run."""
    found: dict[tuple[object, ...], list[_Found]] = defaultdict(list)
    for run, result in enumerate(runs):
        seen = Counter[tuple[object, ...]]()
        for index, each in enumerate(result.contenders):
            device = each.device if by_device else ""
            key = (each.model, each.precision, each.binary, each.runtime, each.threads, each.batch, device)
            found[(*key, seen[key])].append(_Found(run, index, each))
            seen[key] += 1
    return found


def _name(contender: Contender) -> str:
    return (
        f"{contender.model} {contender.precision} ({contender.runtime}, threads {contender.threads}, "
        f"batch {contender.batch}, {contender.device})"
    )


def _context(
    baseline: Sequence[BenchResult], judged: Sequence[BenchResult], pairs: Sequence[_Pair]
) -> tuple[ContextDifference, ...]:
    """What differs between the first run of a contender and any other run of it."""
    found: dict[ContextDifference, None] = {}
    for before, after in pairs:
        first = before[0]
        others = [(baseline[each.run], each) for each in before[1:]] + [(judged[each.run], each) for each in after]
        for run, each in others:
            pair = (first.contender, each.contender)
            found |= dict.fromkeys(context_differences(baseline[first.run], run, [pair]))
    return tuple(found)


def _changes(pairs: Sequence[_Pair], regression_percent: float | None) -> tuple[Change, ...]:
    for contender in (found.contender for pair in pairs for side in pair for found in side):
        if len(contender.launches) < 2:
            raise UsageError(f"{_name(contender)} has a single launch; comparing needs at least 2")
    launches = [tuple([found.contender.launches for found in side] for side in pair) for pair in pairs]
    ratios = [compare_apart(after, before) for before, after in launches]
    factor = None if regression_percent is None else 1 + regression_percent / 100
    regressed: Sequence[bool] = [False] * len(pairs)
    if factor is not None:
        regressed = holm([exceeds_probability(before, after, factor) for before, after in launches], GATE_ERROR)
    labels = contender_labels([after[0].contender for _, after in pairs])
    found = []
    for index, (verdict, ratio) in enumerate(zip(verdicts(ratios), ratios, strict=True)):
        before, after = pairs[index]
        difference, interval = _accuracy_difference(before[0].contender.accuracy, after[0].contender.accuracy)
        found.append(
            Change(
                label=labels[index],
                before=tuple(each.contender for each in before),
                after=tuple(each.contender for each in after),
                comparison=Comparison(
                    a=after[0].index,
                    b=before[0].index,
                    ratio=ratio.value,
                    ci95=ratio.ci95,
                    verdict=verdict,
                    accuracy_difference=difference,
                    accuracy_ci95=interval,
                ),
                regressed=regressed[index],
                suspected=factor is not None and not regressed[index] and ratio.value * factor < 1,
            )
        )
    return tuple(found)


def _accuracy_difference(
    before: Accuracy | None, after: Accuracy | None
) -> tuple[float | None, tuple[float, float] | None]:
    """Of `after` less `before`, where both judged the same samples."""
    if before is None or after is None or (before.data, before.samples) != (after.data, after.samples):
        return None, None
    if not before.correct or len(before.correct) != len(after.correct):
        return after.value - before.value, None
    return paired_difference(after.correct, before.correct)
