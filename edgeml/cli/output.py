"""What commands print: one JSON object on stdout with --json, tables for people, everything else on stderr."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import click

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")


def print_json(value: dict[str, Any], *, schema_version: int = 1) -> None:
    """Print `value` with its schema version as one JSON object on stdout."""
    click.echo(json.dumps({"schema_version": schema_version, **value}, allow_nan=False))


def note(message: str) -> None:
    """Tell the user something on stderr; where that cannot be written (a full disk), there is nobody to tell."""
    with suppress(OSError):
        click.echo(message, err=True)


def print_rows(rows: list[tuple[str, str]]) -> None:
    """Print a two-column table on stdout."""
    width = max(len(name) for name, _ in rows)
    for name, text in rows:
        click.echo(f"{name:<{width}}  {text}")
