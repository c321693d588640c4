"""The figures a report shows of one contender, computed once and read by its plots and its table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

from edgeml.core.bench_result import BenchResult, Comparison, Contender
from edgeml.edge_bench.comparisons import comparison_between
from edgeml.edge_bench.labels import contender_labels
from edgeml.edge_bench.report.palette import Style, style
from edgeml.edge_bench.statistics import LatencySummary, summarize
from edgeml.edge_bench.verdict import ContenderVerdict, verdicts


@dataclass(frozen=True, kw_only=True)
class Row:
    """A contender as the report shows it.

    Attributes:
        label: its name everywhere in the report.
        style: its colour and mark everywhere in the report.
        run: number of its run, from 1.
        contender: the measurement.
        latency: median, percentiles and their intervals in milliseconds.
        verdict: the judgement against its baseline.
        comparison: the measured comparison with its baseline; None for the baseline itself.
    """

    label: str
    style: Style
    run: int
    contender: Contender
    latency: LatencySummary
    verdict: ContenderVerdict
    comparison: Comparison | None

    @property
    def file_name(self) -> str:
        """Name of the model file without its directory."""
        return PurePath(self.contender.artifact).name

    @property
    def load_ms(self) -> float:
        """Median time to open the Session."""
        times = sorted(launch.load_ms for launch in self.contender.launches)
        return times[len(times) // 2]

    @property
    def peak_memory_bytes(self) -> int:
        """Highest resident memory of all launches."""
        return max(launch.peak_memory_bytes for launch in self.contender.launches)


def rows(results: Sequence[BenchResult], tolerance_points: float) -> list[Row]:
    """The contenders of all runs, run by run."""
    contenders = [contender for result in results for contender in result.contenders]
    numbers = [number for number, result in enumerate(results, 1) for _ in result.contenders]
    labels = contender_labels(contenders, numbers)
    found: list[Row] = []
    for number, result in enumerate(results, 1):
        names = labels[len(found) : len(found) + len(result.contenders)]
        judged = verdicts(result, labels=names, tolerance_points=tolerance_points)
        for contender, verdict, label in zip(result.contenders, judged, names, strict=True):
            is_baseline = verdict.baseline == verdict.contender
            found.append(
                Row(
                    label=label,
                    style=style(len(found)),
                    run=number,
                    contender=contender,
                    latency=summarize(contender),
                    verdict=verdict,
                    comparison=None if is_baseline else comparison_between(result, verdict.contender, verdict.baseline),
                )
            )
    return found
