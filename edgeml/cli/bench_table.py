"""The table that `edgeml bench` prints for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeml.core.bench_result import Accuracy, BenchResult
    from edgeml.edge_bench.statistics import Estimate


def print_table(result: BenchResult) -> None:
    """Print one row a contender on stdout."""
    import statistics

    from rich.console import Console
    from rich.table import Table

    from edgeml.edge_bench.statistics import summarize
    from edgeml.edge_bench.verdicts.labels import contender_labels

    devices = sorted({contender.device for contender in result.contenders} - {"local"})
    place = f"{', '.join(devices)} ({result.host.cpu_model})" if devices else result.host.cpu_model
    table = Table(title=f"latency in ms [95% interval] on {place}", title_justify="left")
    table.add_column("contender")
    for heading in ("median", "p90", "p99", "accuracy", "size", "load", "peak memory"):
        table.add_column(heading, justify="right")
    for label, contender in zip(contender_labels(result.contenders), result.contenders, strict=True):
        launches = contender.launches
        summary = summarize(contender)
        latency = ["-"] * 3
        if summary is not None:
            latency = [_estimate(summary.median)] + [
                f"{name} needs {summary.needs(name)} samples, {summary.samples} taken"
                if found is None
                else _estimate(found)
                for name, found in (("p90", summary.p90), ("p99", summary.p99))
            ]
        memory = max((launch.peak_memory_bytes for launch in launches), default=0)
        table.add_row(
            label,
            *latency,
            _accuracy(contender.accuracy),
            _size(contender.size_bytes),
            f"{statistics.median(launch.load_ms for launch in launches):.0f} ms" if launches else "-",
            _size(memory) if memory else "-",
        )
    console = Console()
    if not console.is_terminal:
        console.width = 160  # a pipe has no width; rows broken at 80 columns are hard to read and to search
    console.print(table)


def _estimate(estimate: Estimate) -> str:
    low, high = estimate.ci95
    return f"{estimate.value:#.3g} [dim]\\[{low:#.3g}, {high:#.3g}][/dim]"


def _accuracy(accuracy: Accuracy | None) -> str:
    if accuracy is None:
        return "-"
    low, high = accuracy.ci95
    return f"{accuracy.value:.2%} [dim]\\[{low:.2%}, {high:.2%}][/dim]"


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.1f} MB" if size_bytes >= 1e6 else f"{size_bytes / 1e3:.0f} kB"
