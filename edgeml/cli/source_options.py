"""The options with which a user says which network a SOURCE is; shared by the commands that take one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click


def source_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --weights, --classes, --in-channels, --resolution and --input-shape."""
    options = [
        click.option("--weights", type=click.Path(path_type=Path), help="Weights file (.safetensors, .pth)."),
        click.option(
            "--classes", type=click.IntRange(min=1), help="Number of classes.  [default: the weights' or the source's]"
        ),
        click.option("--in-channels", type=click.IntRange(min=1), help="Channels of the input.  [default: likewise]"),
        click.option("--resolution", type=click.IntRange(min=1), help="Input size in pixels.  [default: likewise]"),
        click.option(
            "--input-shape", callback=_input_shape, metavar="C,H,W", help="Input shape of a factory's network."
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def _input_shape(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, int, int] | None:  # noqa: ARG001
    if value is None:
        return None
    try:
        channels, height, width = (int(size) for size in value.split(","))
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is not three numbers C,H,W, for example 3,224,224") from error
    if min(channels, height, width) < 1:
        raise click.BadParameter(f"{value!r}: each of C,H,W must be at least 1")
    return channels, height, width
