"""Short names that tell the contenders of a run apart, the same in every table, plot and sentence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import PurePath

from edgeml.core.bench_result import Contender


def contender_labels(contenders: Sequence[Contender], runs: Sequence[int] | None = None) -> tuple[str, ...]:
    """One label a contender: its precision, and whatever else differs between the contenders.

    Args:
        contenders: what to name.
        runs: the number of the run each contender comes from, where several runs are shown together.

    Returns:
        Distinct labels such as "int8", "tinynet-e int8" or "fp32, 2 threads". Contenders that are alike in all that
        was chosen (a file measured against itself) are numbered.
    """
    labels = [_kind(contender) for contender in contenders]
    if _differ([contender.model for contender in contenders]):
        labels = [f"{contender.model} {label}" for contender, label in zip(contenders, labels, strict=True)]
    columns: list[list[str]] = [
        [contender.runtime for contender in contenders],
        [contender.device for contender in contenders],
        [_counted(contender.threads, "thread") for contender in contenders],
        [f"batch {contender.batch}" for contender in contenders],
    ]
    for column in columns:
        if _differ(column):
            labels = [f"{label}, {value}" for label, value in zip(labels, column, strict=True)]
    if runs is not None:
        labels = _told_apart(labels, [f"run {run}" for run in runs])
    names = [PurePath(contender.artifact).name for contender in contenders]
    return tuple(_numbered(_told_apart(labels, names)))


def _kind(contender: Contender) -> str:
    """Its precision; of a binary network that of the layers which are not, where it is not the usual one."""
    if not contender.binary:
        return contender.precision
    return "binary" if contender.precision == "fp32" else f"binary and {contender.precision}"


def _differ(values: Sequence[str]) -> bool:
    return len(set(values)) > 1


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _told_apart(labels: list[str], values: list[str]) -> list[str]:
    """Adds a value to those labels that several contenders bear, where the values of these differ."""
    found: dict[str, set[str]] = {}
    for label, value in zip(labels, values, strict=True):
        found.setdefault(label, set()).add(value)
    return [
        f"{label} ({value})" if len(found[label]) > 1 else label for label, value in zip(labels, values, strict=True)
    ]


def _numbered(labels: list[str]) -> list[str]:
    totals, seen = Counter(labels), Counter[str]()
    numbered = []
    for label in labels:
        seen[label] += 1
        numbered.append(f"{label} #{seen[label]}" if totals[label] > 1 else label)
    return numbered
