"""Shows how far training is: a bar on stderr where that is a terminal, else nothing."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress


class Progress:
    """One bar over all epochs, a line for each epoch done. A context manager."""

    def __init__(self, epochs: int, images_per_epoch: int, *, done: int, show: bool) -> None:
        console = Console(stderr=True)
        self._epochs = epochs
        self._bar = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("images"),
            TimeRemainingColumn(),
            console=console,
            disable=not (show and console.is_terminal),
            transient=True,
        )
        self._task = self._bar.add_task(
            f"epoch {done + 1}/{epochs}", total=epochs * images_per_epoch, completed=done * images_per_epoch
        )

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def advance(self, images: int) -> None:
        """So many more images were trained on."""
        self._bar.advance(self._task, images)

    def end_epoch(self, metrics: dict[str, Any]) -> None:
        """Print an epoch's metrics above the bar and go on to the next."""
        if self._bar.disable:
            return
        epoch = metrics["epoch"]
        self._bar.console.print(
            f"epoch {epoch}/{self._epochs}  loss {metrics['train_loss']:.3f}  "
            f"top-1 {metrics['top1_ema']:.2%}  {metrics['images_per_second']:,.0f} images/s",
            highlight=False,
        )
        self._bar.update(self._task, description=f"epoch {min(epoch + 1, self._epochs)}/{self._epochs}")
