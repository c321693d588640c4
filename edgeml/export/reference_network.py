"""Builds the network a SOURCE names, the same one on every call, so that an export can be checked later."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgeml.core.errors import needs_extra

if TYPE_CHECKING:
    from edgeml.models.network import Network

SEED = 0


def reference_network(
    source: str,
    *,
    classes: int | None = None,
    in_channels: int | None = None,
    resolution: int | None = None,
    weights: Path | None = None,
    input_shape: tuple[int, int, int] | None = None,
) -> Network:
    """`edgeml.models.source.load_source` with fresh weights drawn from the fixed seed 0; torch's own state is kept.

    Raises:
        UsageError: the source cannot be understood, or an argument or the weights do not fit it.
        UntrustedFileError: the weights file is not safe to open.
        MissingError: torch is not installed.
    """
    from edgeml.models.source import load_source

    with needs_extra("train"):
        import torch
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        return load_source(
            source,
            classes=classes,
            in_channels=in_channels,
            resolution=resolution,
            weights=weights,
            input_shape=input_shape,
        )
