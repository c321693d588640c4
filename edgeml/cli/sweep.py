"""`edgeml sweep`: every combination of models, precisions, runtimes and devices, built and measured."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeml.cli.output import json_option, note, print_json

if TYPE_CHECKING:
    from edgeml.sweep.cache import TaskCache
    from edgeml.sweep.engine import Engine
    from edgeml.sweep.outcome import CellOutcome, SweepOutcome
    from edgeml.sweep.plan import Plan
    from edgeml.sweep.run import Tell

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command("sweep")
@click.argument("sweep", metavar="SWEEP.toml", type=_FILE)
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="What makes the model files: processes of this machine, or a Ray cluster.",
)
@click.option("--jobs", type=click.IntRange(min=1), help="Files made at once.  [default: the cores; ray: no limit]")
@click.option("--dry-run", is_flag=True, help="Show what would be done, and do nothing.")
@click.option("--again", is_flag=True, help="Measure anew what was measured before.")
@click.option(
    "--cache",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where finished work is kept.  [default: sweep in your cache directory]",
)
@click.option(
    "--store", type=_FILE, help="Keep the runs in this file.  [default: results.sqlite in your data directory]"
)
@click.option("--no-store", is_flag=True, help="Keep no runs.")
@json_option
def command(
    sweep: Path,
    engine: str,
    jobs: int | None,
    dry_run: bool,
    again: bool,
    cache: Path | None,
    store: Path | None,
    no_store: bool,
    as_json: bool,
) -> None:
    """Build and measure every combination that a file describes.

    Model files are made several at once; measurements run one at a time on a device. Work that was finished before, by
    this sweep or another, is not done again, so a sweep that was ended goes on where it was. What fails is listed and
    does not stop the rest (exit code 1). docs/sweeps.md describes the file.
    """
    from contextlib import nullcontext

    from edgeml.core.errors import UsageError
    from edgeml.edge_bench.store.store import Store
    from edgeml.sweep.cache import TaskCache
    from edgeml.sweep.plan import plan
    from edgeml.sweep.run import run_sweep
    from edgeml.sweep.sweep_file import read_sweep_file

    if no_store and store is not None:
        raise UsageError("--store and --no-store are both given; give one of them")
    planned = plan(read_sweep_file(sweep))
    kept = TaskCache.open(cache)
    if dry_run:
        _print_plan(planned, kept, as_json=as_json)
        return
    with nullcontext() if no_store else Store.open(store) as opened, _progress() as tell:
        working = _engine(engine, kept, planned, jobs)
        outcome = run_sweep(planned, working, kept, opened, again=again, tell=tell)
    if as_json:
        print_json(outcome.to_json())
    else:
        _print(outcome)
    if outcome.failed:
        note(f"edgeml: {len(outcome.failed)} of {len(outcome.cells)} cells were not measured")
        raise click.exceptions.Exit(1)


def _engine(name: str, cache: TaskCache, planned: Plan, jobs: int | None) -> Engine:
    if name == "ray":
        from edgeml.sweep.ray_engine import RayEngine

        return RayEngine(cache, planned.sweep.directory, jobs=jobs)
    from edgeml.runtime.threads import available_threads
    from edgeml.sweep.engine import LocalEngine

    return LocalEngine(cache, planned.sweep.directory, jobs=jobs or available_threads())


def _print_plan(planned: Plan, cache: TaskCache, *, as_json: bool) -> None:
    import shlex

    from edgeml.sweep.engine import local_words
    from edgeml.sweep.plan import measurement
    from edgeml.sweep.run import task_keys
    from edgeml.sweep.task import task_key

    keys = task_keys(planned)
    rows: list[dict[str, Any]] = []
    for task in (*planned.tasks, *(measurement(planned.sweep, group) for group in planned.groups)):
        key = keys.get(task.label) or task_key(task, planned.sweep.directory, keys)
        words = ("edgeml", *local_words(task, key, keys, cache))
        rows.append({"label": task.label, "kind": task.kind, "cached": cache.has(key), "command": shlex.join(words)})
    if as_json:
        print_json({"name": planned.sweep.name, "tasks": rows, "cells": len(planned.cells)})
        return
    for row in rows:
        click.echo(f"{row['label']}{' (cached)' if row['cached'] else ''}\n    {row['command']}")
    left = sum(not row["cached"] for row in rows)
    click.echo(f"{planned.sweep.name}: {len(planned.cells)} cells; {left} of {len(rows)} tasks are left to do")


@contextmanager
def _progress() -> Iterator[Tell]:
    """A bar on stderr where that is a terminal, and a line there for whatever failed."""
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from edgeml.sweep.outcome import TaskOutcome

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    # Drawn seldom: more would disturb what is being measured.
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal, refresh_per_second=1
    ) as bar:
        shown = bar.add_task("starting", total=None)

        def tell(outcome: TaskOutcome, ended: int, total: int) -> None:
            bar.update(shown, description=escape(f"{outcome.label}: {outcome.state}"), completed=ended, total=total)
            if outcome.state == "failed":
                log = "" if outcome.log is None else f" (all it printed: {outcome.log})"
                note(f"edgeml: {outcome.label} failed: {outcome.reason}{log}")

        yield tell


def _print(outcome: SweepOutcome) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(f"{outcome.name}: latency in ms [95% interval]"), title_justify="left")
    for heading in ("model", "precision", "runtime", "device"):
        table.add_column(heading)
    for heading in ("threads", "median", "accuracy", "run"):
        table.add_column(heading, justify="right")
    table.add_column("state")
    for cell in outcome.cells:
        table.add_row(
            escape(cell.model),
            cell.precision,
            cell.runtime,
            escape(cell.device),
            "all" if cell.threads is None else str(cell.threads),
            _median(cell),
            "-" if cell.accuracy is None else f"{cell.accuracy:.2%}",
            "-" if cell.run is None else str(cell.run),
            cell.state if cell.reason is None else escape(f"{cell.state}: {cell.reason}"),
        )
    console = Console()
    if not console.is_terminal:
        console.width = 200  # a pipe has no width; broken rows are hard to search
    console.print(table)
    click.echo(f"model files: {outcome.cache}")
    if outcome.store is not None:
        click.echo(f"runs: {outcome.store} (edgeml results show RUN)")


def _median(cell: CellOutcome) -> str:
    if cell.median_ms is None or cell.ci95_ms is None:
        return "-"
    return f"{cell.median_ms:#.3g} [dim]\\[{cell.ci95_ms[0]:#.3g}, {cell.ci95_ms[1]:#.3g}][/dim]"
