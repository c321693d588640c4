"""`edgeml compare`: says what became faster or slower between two results of `edgeml bench`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeml.cli.output import json_option, note, print_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeml.core.bench_result import BenchResult
    from edgeml.edge_bench.compare import Change, Changes
    from edgeml.edge_bench.statistics import Estimate

_FILE = click.Path(path_type=Path)
_FAILED = 4


@click.command("compare")
@click.argument("baseline", type=_FILE)
@click.argument("judged", type=_FILE)
@click.option(
    "--regression",
    type=click.FloatRange(min=0),
    metavar="PERCENT",
    help="End with exit code 4 where a contender is shown to be slower than the baseline by more than this.",
)
@click.option("--ignore-context", is_flag=True, help="Compare although device, versions or settings differ.")
@json_option
def command(baseline: Path, judged: Path, regression: float | None, ignore_context: bool, as_json: bool) -> int:
    """Compare two results: what became faster, what slower.

    BASELINE and JUDGED are files written by `edgeml bench`, or directories of such files: repeated runs. Contenders are
    matched by model, precision, runtime, threads and batch. With --regression 5, exit code 4 says that the whole 95%
    interval of some slowdown lies beyond 5%.
    """
    from edgeml.edge_bench.compare import compare_results

    runs = _read(baseline), _read(judged)
    found = compare_results(*runs, regression_percent=regression, ignore_context=ignore_context)
    if as_json:
        print_json(_to_json(found, baseline, judged, regression))
    else:
        _print_table(found)
        for sentence in _sentences(found, regression):
            click.echo(sentence)
    _print_notes(found, runs)
    return _FAILED if found.regressed else 0


def _read(path: Path) -> tuple[BenchResult, ...]:
    from edgeml.core.errors import UsageError
    from edgeml.edge_bench.results import read_runs

    if not path.is_dir():
        return read_runs(path)
    files = sorted(path.glob("*.json"))
    if not files:
        raise UsageError(f"{path} holds no results; name a file that `edgeml bench` wrote, or a directory of NAME.json")
    return tuple(run for file in files for run in read_runs(file))


def _to_json(found: Changes, baseline: Path, judged: Path, regression: float | None) -> dict[str, Any]:
    return {
        "baseline": str(baseline),
        "judged": str(judged),
        "regression_percent": regression,
        "regressed": found.regressed,
        "changes": [_change_json(change) for change in found.changes],
        "context": [{"name": each.name, "baseline": each.baseline, "judged": each.judged} for each in found.context],
        "unmatched": list(found.unmatched),
    }


def _change_json(change: Change) -> dict[str, Any]:
    before, after = _medians(change)
    comparison, contender = change.comparison, change.after[0]
    return {
        "label": change.label,
        "model": contender.model,
        "precision": contender.precision,
        "runtime": contender.runtime,
        "device": contender.device,
        "threads": contender.threads,
        "batch": contender.batch,
        "same_file": change.same_file,
        "baseline_ms": {"median": before.value, "ci95": list(before.ci95), "runs": len(change.before)},
        "judged_ms": {"median": after.value, "ci95": list(after.ci95), "runs": len(change.after)},
        "ratio": comparison.ratio,
        "ci95": list(comparison.ci95),
        "verdict": comparison.verdict,
        "accuracy_difference": comparison.accuracy_difference,
        "accuracy_ci95": None if comparison.accuracy_ci95 is None else list(comparison.accuracy_ci95),
        "regressed": change.regressed,
        "suspected": change.suspected,
    }


def _print_table(found: Changes) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="median latency in ms, and its change [95% interval]", title_justify="left")
    table.add_column("contender")
    for heading in ("baseline", "judged", "change", "accuracy"):
        table.add_column(heading, justify="right")
    table.add_column("verdict")
    for change in found.changes:
        before, after = _medians(change)
        table.add_row(
            change.label,
            f"{before.value:#.3g}",
            f"{after.value:#.3g}",
            _latency_change(change).replace("[", "\\["),
            _accuracy_change(change).replace("[", "\\["),
            change.comparison.verdict,
        )
    console = Console()
    if not console.is_terminal:
        console.width = 160  # a pipe has no width; rows broken at 80 columns are hard to read and to search
    console.print(table)


def _medians(change: Change) -> tuple[Estimate, Estimate]:
    from edgeml.edge_bench.statistics_apart import median_of_runs

    before, after = ([contender.launches for contender in side] for side in (change.before, change.after))
    return median_of_runs(before), median_of_runs(after)


def _sentences(found: Changes, regression: float | None) -> list[str]:
    """What the gate says."""
    if regression is None:
        return []
    allowed = f"the {regression:g}% allowed"
    said = [
        f"{change.label}: regressed; latency changed by {_latency_change(change)}, beyond {allowed}"
        for change in found.changes
        if change.regressed
    ]
    said += [
        f"{change.label}: latency changed by {_latency_change(change)}; beyond {allowed}, but not shown by these "
        "runs; measure both with more --launches, or more often"
        for change in found.changes
        if change.suspected
    ]
    return said or [f"no contender is slower than {allowed}, as far as these runs show"]


def _latency_change(change: Change) -> str:
    low, high = change.comparison.ci95
    return f"{1 / change.comparison.ratio - 1:+.1%} [{1 / high - 1:+.1%}, {1 / low - 1:+.1%}]"


def _accuracy_change(change: Change) -> str:
    difference, interval = change.comparison.accuracy_difference, change.comparison.accuracy_ci95
    if difference is None:
        return "-"
    bounds = "" if interval is None else f" [{100 * interval[0]:+.1f}, {100 * interval[1]:+.1f}]"
    return f"{100 * difference:+.1f} points{bounds}"


def _print_notes(found: Changes, runs: tuple[Sequence[BenchResult], Sequence[BenchResult]]) -> None:
    """What makes the comparison less certain, on stderr."""
    if any(len(change.before) == len(change.after) == 1 for change in found.changes):
        note(
            "edgeml: warning: one run on each side: what the machine did differently in one of them is part of the "
            "change; repeat the runs and give directories to tell the two apart"
        )
    if found.context:
        note(f"edgeml: warning: measured under different conditions: {', '.join(map(str, found.context))}")
    for sentence in found.unmatched:
        note(f"edgeml: warning: {sentence}")
    for name, results in zip(("baseline", "judged"), runs, strict=True):
        for warning in dict.fromkeys(warning for result in results for warning in result.warnings):
            note(f"edgeml: warning: {name}: {warning}")
