"""What the commands that run the compiler have in common: their limits and the line that shows what it is doing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from edgeml.compiler.process.compiler_process import ProcessLimits, Progress

MEMORY_SHARE = 0.9


def compiler_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --target, --timeout and --memory-limit to a command."""
    options = (
        click.option("--target", required=True, help="What to make code for: host, rpi4, jetson-orin, 'llvm ...', ..."),
        click.option(
            "--timeout",
            type=click.FloatRange(min=0, min_open=True),
            help="Seconds the compiler may take.  [default: 900]",
        ),
        click.option(
            "--memory-limit",
            type=click.FloatRange(min=0, min_open=True),
            metavar="GB",
            help="Memory the compiler may take.  [default: 90% of what is free]",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def process_limits(timeout: float | None, memory_limit: float | None, *, default_timeout_s: float) -> ProcessLimits:
    """The limits of the compiling process that a user's options ask for."""
    from edgeml.compiler.process.compiler_process import ProcessLimits
    from edgeml.edge_bench.conditions.environment import available_memory_bytes

    free = available_memory_bytes()
    return ProcessLimits(
        timeout_s=default_timeout_s if timeout is None else timeout,
        memory_bytes=int(memory_limit * 1e9)
        if memory_limit is not None
        else None
        if free is None
        else int(MEMORY_SHARE * free),
    )


@contextmanager
def compiler_progress() -> Iterator[Progress]:
    """A line on stderr with the step and its time, where that is a terminal."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as line:
        task = line.add_task("starting", total=None)
        yield lambda step: line.update(task, description=step)
