"""What one check of a machine found, in words that its user can act on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from edgeml.core.errors import EdgeMLError, MissingError

Status = Literal["ok", "absent", "failed", "skipped"]


@dataclass(frozen=True)
class Finding:
    """One check and its outcome.

    Attributes:
        name: what was looked at.
        status: "ok"; "absent": something is not installed; "failed": it is there and does not work; "skipped": nothing
            could be said, and why.
        detail: a version or a figure; where it is not ok, what is wrong and the command that mends it.
        needed: whether the work cannot be done without it.
    """

    name: str
    status: Status
    detail: str
    needed: bool = True


def find(name: str, check: Callable[[], str], *, needed: bool = True) -> Finding:
    """Do one check.

    Args:
        name: what is looked at.
        check: returns the detail of a check that passes; raises MissingError where something is absent, and any other
            EdgeMLError where it does not work.
        needed: whether the work cannot be done without it.
    """
    try:
        return Finding(name, "ok", check(), needed)
    except MissingError as error:
        return Finding(name, "absent", str(error), needed)
    except EdgeMLError as error:
        return Finding(name, "failed", str(error), needed)


def raise_for(findings: tuple[Finding, ...], subject: str) -> None:
    """Tell the first thing needed that is not there or does not work.

    Raises:
        MissingError: something needed is absent.
        EdgeMLError: something needed does not work.
    """
    for finding in findings:
        if finding.needed and finding.status in {"absent", "failed"}:
            kind = MissingError if finding.status == "absent" else EdgeMLError
            raise kind(f"{subject}: {finding.name}: {finding.detail}")
