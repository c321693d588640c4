"""Progress of what takes longer than a moment, on stderr where that is a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeml.edge_bench.measure import Progress


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """One bar."""
    with progress_bars() as add:
        yield add("")


@contextmanager
def progress_bars() -> Iterator[Callable[[str], Progress]]:
    """Bars one below the other; what is yielded makes one under a name and gives what moves it."""
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    # Drawn twice a second: more would disturb what is being measured.
    with Bars(*columns, console=console, transient=True, disable=not console.is_terminal, refresh_per_second=2) as bars:

        def add(name: str) -> Progress:
            opening = f"{name}: " if name else ""
            task = bars.add_task(f"{opening}starting", total=1.0)

            def show(description: str, share: float) -> None:
                bars.update(task, description=f"{opening}{description}", completed=share)

            return show

        yield add
