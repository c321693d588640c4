"""What became of a sweep: its tasks and its cells, each with its state and, where it failed, the reason."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from edgeml.sweep.task import Kind

State = Literal["done", "cached", "failed", "not run"]


@dataclass(frozen=True, kw_only=True)
class TaskOutcome:
    """One task.

    Attributes:
        label: the task.
        kind: its command.
        state: "cached" where an earlier sweep had finished it, "not run" where one it needs failed.
        seconds: how long it ran.
        reason: why it failed or was not run; None otherwise.
        log: the file with all it printed; None where it printed nothing.
    """

    label: str
    kind: Kind
    state: State
    seconds: float
    reason: str | None = None
    log: str | None = None


@dataclass(frozen=True, kw_only=True)
class CellOutcome:
    """One combination.

    Attributes:
        model: the model's name.
        precision: its precision.
        runtime: what executed it.
        threads: threads; None for the device's available cores.
        device: the device, as written in the sweep file.
        artifact: the model file; None where it could not be made.
        state: "done" where it was measured, "cached" where an earlier sweep had measured it.
        run: number of the run in the store; None where it was not measured or nothing was stored.
        median_ms: latency of a typical launch in milliseconds; None where it was not measured.
        ci95_ms: its 95% interval.
        accuracy: fraction in [0, 1]; None where it was not measured.
        reason: why it failed or was not run; None otherwise.
    """

    model: str
    precision: str
    runtime: str
    threads: int | None
    device: str
    artifact: str | None
    state: State
    run: int | None = None
    median_ms: float | None = None
    ci95_ms: tuple[float, float] | None = None
    accuracy: float | None = None
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class SweepOutcome:
    """A whole sweep.

    Attributes:
        name: the sweep's name.
        cells: in the order of the sweep file.
        tasks: in the order they ended.
        store: the file that has the runs; None where nothing was stored.
        cache: the directory that has the model files.
    """

    name: str
    cells: tuple[CellOutcome, ...]
    tasks: tuple[TaskOutcome, ...]
    store: str | None
    cache: str

    @property
    def failed(self) -> tuple[CellOutcome, ...]:
        """The cells without a measurement."""
        return tuple(cell for cell in self.cells if cell.state in {"failed", "not run"})

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)
