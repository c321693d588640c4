"""Lengths of time as users write them: 90, 90s, 30m, 2h."""

from __future__ import annotations

import re

import click

_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


def duration(context: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    """An option's callback: the seconds of a number of seconds, or of a number with s, m or h behind it."""
    if value is None:
        return None
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([smh]?)", value.strip())
    if match is None or float(match[1]) == 0:
        raise click.BadParameter(f"{value!r} is no length of time; write 90, 90s, 30m or 2h", context, parameter)
    return float(match[1]) * _SECONDS[match[2]]
