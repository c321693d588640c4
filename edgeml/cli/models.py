"""`edgeml models`: what can be built by name, and what it costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgeml.cli.output import json_option, print_json, print_rows
from edgeml.cli.trees import compression_of, compression_rows, print_layers
from edgeml.core.errors import UsageError


@click.group("models")
def command() -> None:
    """List the networks edgeml builds, or show one."""


@command.command("list")
@json_option
def list_models(as_json: bool) -> None:
    """List the networks with their cost."""
    from edgeml.models.overview import summarize
    from edgeml.models.registry import names

    rows = [summarize(name) for name in names()]
    if as_json:
        print_json({"models": [row.to_json() for row in rows]})
        return
    click.echo(f"{'name':<16} {'family':<13} {'parameters':>11} {'MACs':>7}  {'input':<10} {'bits':>11} {'bit-ops':>8}")
    for row in rows:
        size = "x".join(str(axis) for axis in row.input_shape)
        binary = f" {row.bits:>11,} {row.bit_operations / 1e6:>7.1f}M" if row.bits else ""
        cost = f"{row.params:>11,} {row.macs / 1e6:>6.1f}M"
        click.echo(f"{row.name:<16} {row.family:<13} {cost}  {size:<10}{binary}".rstrip())
    click.echo(
        "any other size: edgeml scale --macs 50M, or a name such as tinynet-r128-w0.5-d0.8 (docs/add-a-model.md)"
    )


@command.command("show")
@click.argument("name")
@click.option(
    "--weights",
    type=click.Path(path_type=Path),
    help="Weights of a binary network: tells what trees of differences would save in them.",
)
@click.option("--no-measure", is_flag=True, help="With --weights: do not measure time before and after.")
@json_option
def show(name: str, weights: Path | None, no_measure: bool, as_json: bool) -> None:
    """Show one network: stages, input transform, published accuracy.

    NAME is one that `edgeml models list` shows, or a scaled one such as tinynet-r28-w0.35-d0.5-small.
    """
    from edgeml.models.overview import describe

    value = describe(name).to_json()
    if weights is not None and not value["bits"]:
        raise UsageError(f"--weights tells of the weights of binary layers, and {name} has none; leave it out")
    found = None if weights is None else compression_of(name, weights, measure=not no_measure)
    if as_json:
        print_json(
            value
            if found is None
            else value
            | {
                "compression": found.report.to_json(),
                "compression_speed": None if found.speed is None else found.speed.to_json(),
            }
        )
        return
    _print_description(value)
    if found is not None:
        print_layers(found.report)
        click.echo()
        print_rows(compression_rows(found.report, found.speed))


def _print_description(value: dict[str, Any]) -> None:
    size = "x".join(str(axis) for axis in value["input_shape"])
    click.echo(f"{value['name']}: {value['params']:,} parameters, {value['macs'] / 1e6:.1f}M MACs, input {size}")
    if value["bits"]:
        click.echo(
            f"binary layers, apart from these: {value['bits']:,} weights of one bit, "
            f"{value['bit_operations'] / 1e6:.1f}M bit-operations"
        )
    if value["stages"]:
        click.echo(
            f"\n{'stage':<11} {'blocks':>6} {'channels':>8} {'kernel':>6} {'stride':>6} {'output':>7} "
            f"{'parameters':>10} {'MACs':>8}"
        )
    for row in value["stages"]:
        output = f"{row['resolution']}x{row['resolution']}"
        click.echo(
            f"{row['stage']:<11} {row['repeats']:>6} {row['channels']:>8} {row['kernel']:>6} {row['stride']:>6} "
            f"{output:>7} {row['params']:>10,} {row['macs'] / 1e6:>7.2f}M"
        )
    how = value["preprocessing"]
    click.echo(
        f"\ninput: {how['interpolation']} resize, centre crop of {how['crop_fraction']:g} to "
        f"{how['height']}x{how['width']}, mean {tuple(how['mean'])}, std {tuple(how['std'])}"
    )
    if value["published"]:
        known = value["published"]
        click.echo(
            f"ImageNet-1k, published, not measured here:\n  top-1 {known['paper_top1']}% ({known['paper']})\n"
            f"  top-1 {known['weights_top1']}%, top-5 {known['weights_top5']}% ({known['weights']})"
        )
