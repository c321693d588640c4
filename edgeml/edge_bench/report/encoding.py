"""Decides what colour, shape and filling of a mark stand for: the device, the precision and the runtime."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgeml.core.bench_result import Contender
from edgeml.edge_bench.report.palette import LIGHT, MARKS, Style, style


@dataclass(frozen=True)
class Key:
    """One entry of a legend: how it is drawn and what it stands for."""

    style: Style
    text: str


@dataclass(frozen=True, kw_only=True)
class Legend:
    """What the channels stand for; a channel that tells nothing is empty.

    Attributes:
        colour_of: "device" or "model"; "" where every contender has a colour and a mark of its own.
        colours: one a device or model.
        marks: one a precision.
        fillings: one a runtime, where there are two or more.
    """

    colour_of: str
    colours: tuple[Key, ...]
    marks: tuple[Key, ...]
    fillings: tuple[Key, ...]


def encode(contenders: Sequence[Contender], devices: Sequence[str]) -> tuple[list[Style], Legend]:
    """A style for each contender, and the legend that explains them.

    With several devices the colour is the device's, else with several models the model's, and the shape is the
    precision's; a second runtime is drawn hollow. One model on one device needs no such order: each contender gets a
    colour and a mark of its own.

    Args:
        contenders: what is drawn.
        devices: the name of the device of each, in the same order.
    """
    models = [contender.model for contender in contenders]
    colour_of, coloured = ("device", list(devices)) if len(set(devices)) > 1 else ("model", models)
    groups = list(dict.fromkeys(coloured))
    if len(groups) < 2:
        return [style(index) for index in range(len(contenders))], Legend(
            colour_of="", colours=(), marks=(), fillings=()
        )
    precisions = list(dict.fromkeys(_kind(contender) for contender in contenders))
    runtimes = list(dict.fromkeys(contender.runtime for contender in contenders))
    styles = [
        Style(
            groups.index(group) % len(LIGHT),
            MARKS[precisions.index(_kind(contender)) % len(MARKS)],
            runtimes.index(contender.runtime) > 0,
        )
        for contender, group in zip(contenders, coloured, strict=True)
    ]
    return styles, Legend(
        colour_of=colour_of,
        colours=tuple(Key(Style(i % len(LIGHT), "square"), text) for i, text in enumerate(groups)),
        marks=tuple(Key(Style(0, MARKS[i % len(MARKS)]), text) for i, text in enumerate(precisions)),
        fillings=tuple(Key(Style(0, "circle", i > 0), text) for i, text in enumerate(runtimes) if len(runtimes) > 1),
    )


def device_names(contenders: Sequence[Contender], processors: Sequence[str]) -> list[str]:
    """What to call the device of each contender: its address, and the processor where one address names several.

    Args:
        contenders: what was measured.
        processors: the processor each was measured on, as its host names it.
    """
    found: dict[str, set[str]] = {}
    for contender, processor in zip(contenders, processors, strict=True):
        found.setdefault(contender.device, set()).add(processor)
    return [
        contender.device if len(found[contender.device]) == 1 else f"{contender.device} ({processor})"
        for contender, processor in zip(contenders, processors, strict=True)
    ]


def _kind(contender: Contender) -> str:
    return "binary" if contender.binary else contender.precision
