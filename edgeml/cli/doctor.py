"""`edgeml doctor`: show what this machine can build and run."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from edgeml.cli.output import json_option, print_json

if TYPE_CHECKING:
    from edgeml.core.finding import Finding

_NAME_WIDTH = 20


@click.command("doctor")
@click.option("--target", "target_text", metavar="TARGET", help="Prove the tool chain of this target by using it.")
@json_option
def command(target_text: str | None, as_json: bool) -> None:
    """Show what this machine can build and run, and prove a target's tool chain.

    With --target, a C++ program and a TVM library are built for it, run here or on an emulated device, and their
    results compared. Every check that does not pass tells the command that mends it. Exit code 3: something needed is
    missing, 1: a step failed.
    """
    from edgeml.core.finding import raise_for
    from edgeml.core.target import Target
    from edgeml.doctor.machine import examine_machine
    from edgeml.doctor.target_trial import try_target

    target = None if target_text is None else Target.parse(target_text)
    findings: list[Finding] = []
    for finding in examine_machine() if target is None else try_target(target):
        findings.append(finding)
        if not as_json:
            click.echo(f"{finding.status:<8} {finding.name:<{_NAME_WIDTH}} {finding.detail}")
    if as_json:
        print_json({"target": None if target is None else str(target), "findings": [asdict(each) for each in findings]})
    raise_for(tuple(findings), "this machine is not ready" if target is None else f"not ready for {target}")
