"""The figures a report shows of one contender, computed once and read by its plots and its tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

from edgeml.core.bench_result import BenchResult, Comparison, Contender
from edgeml.edge_bench.report.encoding import device_names, encode
from edgeml.edge_bench.report.palette import Style
from edgeml.edge_bench.statistics import LatencySummary, summarize
from edgeml.edge_bench.verdicts.comparisons import comparison_between
from edgeml.edge_bench.verdicts.labels import contender_labels
from edgeml.edge_bench.verdicts.verdict import ContenderVerdict, verdicts


@dataclass(frozen=True, kw_only=True)
class Row:
    """A contender as the report shows it.

    Attributes:
        index: its number in the report, from 0, over all runs.
        label: its name everywhere in the report.
        short: its name beside a mark that tells its device and runtime by itself.
        style: its colour and mark everywhere in the report.
        run: number of its run, from 1.
        device: what its device is called.
        contender: the measurement.
        latency: median, percentiles and their intervals in milliseconds; None where the device measures none.
        verdict: the judgement against its baseline.
        comparison: the measured comparison with its baseline; None for the baseline itself.
    """

    index: int
    label: str
    short: str
    style: Style
    run: int
    device: str
    contender: Contender
    latency: LatencySummary | None
    verdict: ContenderVerdict
    comparison: Comparison | None

    @property
    def file_name(self) -> str:
        """Name of the model file without its directory."""
        return PurePath(self.contender.artifact).name

    @property
    def load_ms(self) -> float | None:
        """Median time to open the Session; None without launches."""
        times = sorted(launch.load_ms for launch in self.contender.launches)
        return times[len(times) // 2] if times else None

    @property
    def peak_memory_bytes(self) -> int | None:
        """Highest resident memory of all launches; None without launches."""
        return max((launch.peak_memory_bytes for launch in self.contender.launches), default=None)

    @property
    def facets(self) -> dict[str, str]:
        """What a reader may choose contenders by."""
        contender = self.contender
        return {
            "Device": self.device,
            "Model": contender.model,
            "Precision": "binary" if contender.binary else contender.precision,
            "Runtime": contender.runtime,
            "Threads": str(contender.threads),
            "Batch": str(contender.batch),
            "Run": str(self.run),
        }


def rows(results: Sequence[BenchResult], tolerance_points: float) -> list[Row]:
    """The contenders of all runs, run by run."""
    contenders = [contender for result in results for contender in result.contenders]
    numbers = [number for number, result in enumerate(results, 1) for _ in result.contenders]
    labels = contender_labels(contenders, numbers)
    devices = device_names(contenders, [results[number - 1].host.cpu_model for number in numbers])
    styles, legend = encode(contenders, devices)
    shorts = _short_labels(contenders) if legend.colour_of else list(labels)
    found: list[Row] = []
    for number, result in enumerate(results, 1):
        names = labels[len(found) : len(found) + len(result.contenders)]
        judged = verdicts(result, labels=names, tolerance_points=tolerance_points)
        for contender, verdict, label in zip(result.contenders, judged, names, strict=True):
            is_baseline = verdict.baseline == verdict.contender
            index = len(found)
            found.append(
                Row(
                    index=index,
                    label=label,
                    short=shorts[index],
                    style=styles[index],
                    run=number,
                    device=devices[index],
                    contender=contender,
                    latency=summarize(contender) if contender.launches else None,
                    verdict=verdict,
                    comparison=None if is_baseline else comparison_between(result, verdict.contender, verdict.baseline),
                )
            )
    return found


def timed(shown: Sequence[Row]) -> list[tuple[Row, LatencySummary]]:
    """Those contenders whose latency was measured, with it."""
    return [(row, row.latency) for row in shown if row.latency is not None]


def _short_labels(contenders: Sequence[Contender]) -> list[str]:
    """Model and precision, and threads and batch where they differ."""
    parts = [
        [contender.model for contender in contenders],
        ["binary" if contender.binary else contender.precision for contender in contenders],
        [f"{contender.threads} threads" for contender in contenders],
        [f"batch {contender.batch}" for contender in contenders],
    ]
    told = [part for index, part in enumerate(parts) if index == 1 or len(set(part)) > 1]
    return [" ".join(each) for each in zip(*told, strict=True)]
