"""`edgeml results`: the runs that were kept, and how to get them out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

import click

from edgeml.cli.output import json_option, note, print_json

if TYPE_CHECKING:
    from edgeml.core.bench_result import BenchResult
    from edgeml.edge_bench.store.export import ExportFormat
    from edgeml.edge_bench.store.query import RunFilter, StoredContender, StoredRun

_LISTED = 20
_FILE = click.Path(path_type=Path, dir_okay=False)
_RUN = click.IntRange(min=1)
store_option = click.option(
    "--store", type=_FILE, help="The store's file.  [default: results.sqlite in your data directory]"
)


def _filter_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say which runs are meant."""
    options = [
        click.option("--model", help="Only contenders of this model; * and ? stand for any text."),
        click.option("--precision", help="Likewise: fp32, fp16, int8, mixed."),
        click.option("--runtime", help="Likewise: onnxruntime, tvm."),
        click.option("--device", help="Likewise: the device's address."),
        click.option("--since", help="Only runs begun since: 2026-11-21, 2026-11-21T18:00, 36h, 7d."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@click.group("results")
def command() -> None:
    """List, show and export the runs that were kept."""


@command.command("list")
@_filter_options
@click.option("--limit", type=click.IntRange(min=1), default=_LISTED, show_default=True, help="At most so many runs.")
@store_option
@json_option
def list_command(store: Path | None, limit: int, as_json: bool, **wanted: str | None) -> None:
    """List runs, newest first, a row for each contender."""
    from edgeml.edge_bench.store.store import Store

    chosen = _filter(limit, **wanted)
    with Store.open(store, create=False) as opened:
        runs, count = opened.runs(chosen), opened.count(chosen)
    if as_json:
        print_json({"runs": [_run_json(run) for run in runs], "count": count})
        return
    if not runs:
        note("edgeml: no run is like that")
        return
    _print_runs(runs)
    if count > len(runs):
        note(f"{count - len(runs)} earlier runs are not shown (--limit)")


@command.command("show")
@click.argument("run", type=_RUN)
@store_option
@json_option
def show_command(run: int, store: Path | None, as_json: bool) -> None:
    """Show one run as `edgeml bench` printed it."""
    from edgeml.edge_bench.store.store import Store

    with Store.open(store, create=False) as opened:
        if as_json:
            import json

            click.echo(json.dumps(opened.document(run), allow_nan=False))
            return
        result = opened.result(run)
    _print_result(result)


@command.command("export")
@click.argument("runs", nargs=-1, metavar="[RUN]...", type=_RUN)
@_filter_options
@click.option("--limit", type=click.IntRange(min=1), help="At most so many runs, the newest.  [default: all]")
@click.option(
    "--format",
    "file_format",
    type=click.Choice(["parquet", "csv", "json"]),
    help="[default: by the ending of --output]",
)
@click.option("--output", required=True, type=_FILE, help="The file to write.")
@store_option
@json_option
def export_command(
    runs: tuple[int, ...],
    file_format: str | None,
    output: Path,
    store: Path | None,
    limit: int | None,
    as_json: bool,
    **wanted: str | None,
) -> None:
    """Write runs to a Parquet, CSV or JSON file; all of them, or those named or filtered.

    Parquet holds a row for each contender with its samples, CSV the same without them, JSON whole runs with all that
    was measured, which `edgeml report` reads.
    """
    from edgeml.core.errors import UsageError
    from edgeml.edge_bench.store.export import ExportFormat, export_runs
    from edgeml.edge_bench.store.store import Store

    chosen = file_format or output.suffix.removeprefix(".").lower()
    if chosen not in get_args(ExportFormat):
        raise UsageError(f"{output} does not end in .parquet, .csv or .json; say which it is to be with --format")
    if output.is_dir() or not output.parent.is_dir():
        raise UsageError(f"cannot write {output}: name a file in a directory that exists")
    with Store.open(store, create=False) as opened:
        found = opened.runs(_filter(limit, **wanted))
        if runs:
            if missing := [run for run in runs if run not in {each.id for each in found}]:
                raise UsageError(f"there is no run {missing[0]} in {opened.path} that is like that")
            found = tuple(each for each in found if each.id in runs)
        written = export_runs(opened, found, output, cast("ExportFormat", chosen))
    if as_json:
        print_json({"file": str(output), "format": chosen, "runs": [run.id for run in found], "written": written})
        return
    click.echo(f"{output}: {len(found)} runs" + ("" if chosen == "json" else f", {written} contenders"))


@command.command("remove")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", type=_RUN)
@click.option("--yes", is_flag=True, help="Do not ask.")
@store_option
@json_option
def remove_command(runs: tuple[int, ...], yes: bool, store: Path | None, as_json: bool) -> None:
    """Remove runs for good."""
    import sys

    from edgeml.core.errors import UsageError
    from edgeml.edge_bench.store.store import Store

    numbers = ", ".join(map(str, runs))
    with Store.open(store, create=False) as opened:
        if not yes:
            if not sys.stdin.isatty():
                raise UsageError(f"removing runs {numbers} cannot be undone and nobody is there to ask; add --yes")
            click.confirm(f"Remove {numbers} from {opened.path} for good?", abort=True, err=True)
        opened.remove(runs)
    if as_json:
        print_json({"removed": list(runs)})
    else:
        click.echo(f"removed: {numbers}")


def _filter(limit: int | None, **wanted: str | None) -> RunFilter:
    from edgeml.edge_bench.store.query import RunFilter, parse_since

    since = wanted.pop("since")
    return RunFilter(since=None if since is None else parse_since(since), limit=limit, **wanted)


def _run_json(run: StoredRun) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(run) | {"time": run.time.isoformat()}


def _print_runs(runs: tuple[StoredRun, ...]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table()
    table.add_column("run", justify="right")
    for heading in ("time", "device", "model", "precision", "runtime"):
        table.add_column(heading)
    for heading in ("threads", "batch", "median ms \\[95% interval]", "p99 ms", "accuracy"):
        table.add_column(heading, justify="right")
    for run in runs:
        for index, contender in enumerate(run.contenders):
            first = index == 0
            table.add_row(
                str(run.id) if first else "",
                run.time.astimezone().strftime("%Y-%m-%d %H:%M") if first else "",
                escape(f"{contender.device} ({run.cpu_model})" if contender.device == "local" else contender.device),
                escape(contender.model),
                f"binary, {contender.precision}" if contender.binary else contender.precision,
                contender.runtime,
                str(contender.threads),
                str(contender.batch),
                _median(contender),
                "-" if contender.p99_ms is None else f"{contender.p99_ms:#.3g}",
                "-" if contender.accuracy is None else f"{contender.accuracy:.2%}",
            )
    console = Console()
    if not console.is_terminal:
        console.width = 200  # a pipe has no width; broken rows are hard to search
    console.print(table)


def _median(contender: StoredContender) -> str:
    if contender.median_ms is None or contender.median_low_ms is None or contender.median_high_ms is None:
        return "-"
    return f"{contender.median_ms:#.3g} [dim]\\[{contender.median_low_ms:#.3g}, {contender.median_high_ms:#.3g}][/dim]"


def _print_result(result: BenchResult) -> None:
    from edgeml.cli.bench_table import print_table
    from edgeml.edge_bench.verdicts.verdict import verdicts

    print_table(result)
    if len(result.contenders) > 1:
        for verdict in verdicts(result):
            click.echo(str(verdict))
    for warning in result.warnings:
        note(f"edgeml: warning: {warning}")
    host = result.host
    versions = ", ".join(f"{name} {version}" for name, version in host.versions)
    click.echo(f"measured {host.time} on {host.cpu_model}, {host.available_cores} cores, {host.system}; {versions}")
