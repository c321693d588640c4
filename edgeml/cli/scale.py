"""`edgeml scale`: the network of a given cost."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from edgeml.cli.output import json_option, note, print_json
from edgeml.core.errors import UsageError

if TYPE_CHECKING:
    from edgeml.models.tinynet.scale import Scaled

_FACTORS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}


@click.command("scale")
@click.option("--macs", metavar="NUMBER", help="Multiply-accumulates for one image: 50M, 0.2G.")
@click.option("--params", metavar="NUMBER", help="Parameters: 2M, 3500k.")
@click.option("--classes", type=click.IntRange(1, 100_000), default=1000, show_default=True, help="Number of classes.")
@click.option("--in-channels", type=click.IntRange(1, 256), default=3, show_default=True, help="Input channels.")
@json_option
def command(macs: str | None, params: str | None, classes: int, in_channels: int, as_json: bool) -> None:
    """Find the network of a given cost with the tiny formula.

    Prints its name, which every command takes, and beside it what EfficientNet's compound rule gives at that cost.
    """
    from edgeml.models.tinynet.scale import scale

    if (macs is None) == (params is None):
        raise UsageError("give one budget: --macs 50M or --params 2M")
    if macs is not None:
        answers = scale("macs", _parse_number("--macs", macs), classes=classes, in_channels=in_channels)
    else:
        assert params is not None
        answers = scale("params", _parse_number("--params", params), classes=classes, in_channels=in_channels)
    if as_json:
        tiny, compound = (_to_json(answer) for answer in answers)
        print_json({"classes": classes, "in_channels": in_channels, "tiny": tiny, "compound": compound})
        return
    click.echo(f"{'rule':<22} {'name':<26} {'resolution':>10} {'width':>6} {'depth':>6} {'parameters':>10} {'MACs':>7}")
    for answer in answers:
        config, cost = answer.config, answer.complexity
        click.echo(
            f"{answer.rule:<22} {config!s:<26} {config.resolution:>10} {config.width:>6.3f} {config.depth:>6.3f} "
            f"{cost.params:>10,} {cost.macs / 1e6:>6.1f}M"
        )
    if answers[0].extrapolated:
        note("smaller than TinyNet-E: the tiny formula is extrapolated below the published networks")


def _parse_number(option: str, text: str) -> int:
    match = re.fullmatch(r"\s*(\d{1,15}(?:\.\d{1,9})?)\s*([kKmMgG]?)\s*", text)
    if match is None:
        raise UsageError(f"{option} {text!r} is not a number; write 50000000, 50M, 500k or 0.05G")
    return round(float(match[1]) * _FACTORS[match[2].lower()])


def _to_json(answer: Scaled) -> dict[str, Any]:
    config = answer.config
    return {
        "rule": answer.rule,
        "name": str(config),
        "resolution": config.resolution,
        "width": config.width,
        "depth": config.depth,
        "params": answer.complexity.params,
        "macs": answer.complexity.macs,
        "extrapolated": answer.extrapolated,
        "prediction": None if answer.prediction is None else asdict(answer.prediction),
    }
