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

    from edgeml.edge_bench.labels import contender_labels
    from edgeml.edge_bench.statistics import minimum_samples, summarize

    table = Table(title=f"latency in ms [95% interval] on {result.host.cpu_model}", title_justify="left")
    table.add_column("contender")
    for heading in ("median", "p90", "p99", "accuracy", "size", "load", "peak memory"):
        table.add_column(heading, justify="right")
    for label, contender in zip(contender_labels(result.contenders), result.contenders, strict=True):
        summary = summarize(contender)
        table.add_row(
            label,
            _estimate(summary.median),
            *(
                f"needs {minimum_samples(share)} samples, has {summary.samples}" if found is None else _estimate(found)
                for share, found in ((0.90, summary.p90), (0.99, summary.p99))
            ),
            _accuracy(contender.accuracy),
            _size(contender.size_bytes),
            f"{statistics.median(launch.load_ms for launch in contender.launches):.0f} ms",
            _size(max(launch.peak_memory_bytes for launch in contender.launches)),
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
