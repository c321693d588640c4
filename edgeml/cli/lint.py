"""`edgeml lint`: says before compiling what a target's path cannot take."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeml.cli.compiler_options import compiler_options, compiler_progress, process_limits
from edgeml.cli.output import json_option, print_json

if TYPE_CHECKING:
    from edgeml.compiler.lint.lint import LintReport


@click.command("lint")
@click.argument("model", type=click.Path(path_type=Path))
@compiler_options
@json_option
@click.pass_context
def command(
    context: click.Context, model: Path, target: str, timeout: float | None, memory_limit: float | None, as_json: bool
) -> None:
    """List the operators a target's path cannot take, and the way round.

    The model is compiled for the target, without writing anything; where that fails, every node is tried by itself.
    The exit code is 4 where the model cannot be compiled.
    """
    from edgeml.compiler.compile import TIMEOUT_S
    from edgeml.compiler.lint.lint import lint
    from edgeml.core.errors import CheckFailedError
    from edgeml.core.target import Target

    limits = process_limits(timeout, memory_limit, default_timeout_s=TIMEOUT_S)
    with compiler_progress() as progress:
        report = lint(model, Target.parse(target), limits=limits, progress=progress)
    if as_json:
        print_json(report.to_json())
    else:
        _print(report)
    if report.findings:
        context.exit(CheckFailedError.exit_code)


def _print(report: LintReport) -> None:
    if not report.findings:
        click.echo(f"{report.model} can be compiled for {report.target}")
        return
    for finding in report.findings:
        domain = f"{finding.domain}." if finding.domain else ""
        click.echo(f"{domain}{finding.operator} {finding.name}: {finding.reason}")
        click.echo(f"    way round: {finding.way_round}")
    click.echo(f"{report.model} cannot be compiled for {report.target}: {len(report.findings)} to mend")
