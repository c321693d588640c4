"""What there is to know about a network before it is trained: cost, stages, input transform, published accuracy."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from edgeml.core.preprocessing import Preprocessing
from edgeml.models.complexity import count
from edgeml.models.registry import find
from edgeml.models.tinynet.cost import StageCost, stage_costs
from edgeml.models.tinynet.family import PUBLISHED, Published, find_config


@dataclass(frozen=True, kw_only=True)
class Summary:
    """One line of the list of networks.

    Attributes:
        name: what the user types.
        family: the architecture.
        params: learned numbers, the weights of binary layers left out.
        macs: multiply-accumulates of numbers for one image.
        bits: weights of binary layers.
        bit_operations: products of two signs for one image.
        input_shape: (channels, height, width).
    """

    name: str
    family: str
    params: int
    macs: int
    bits: int
    bit_operations: int
    input_shape: tuple[int, int, int]

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self) | {"input_shape": list(self.input_shape)}


@dataclass(frozen=True, kw_only=True)
class Description:
    """All about one network.

    Attributes:
        summary: its line of the list.
        preprocessing: how images become its input.
        stages: cost line by line; empty for networks that are not of the TinyNet family.
        published: accuracy in the literature, where there is any.
    """

    summary: Summary
    preprocessing: Preprocessing
    stages: tuple[StageCost, ...]
    published: Published | None

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return self.summary.to_json() | {
            "preprocessing": self.preprocessing.to_json(),
            "stages": [asdict(line) for line in self.stages],
            "published": None if self.published is None else asdict(self.published),
        }


def summarize(name: str) -> Summary:
    """Cost and input of the registered or scaled network `name`, with its default classes and channels.

    Raises:
        UsageError: there is no such network.
        MissingError: torch is not installed.
    """
    return describe(name).summary


def describe(name: str) -> Description:
    """Everything about the registered or scaled network `name`; see `summarize`."""
    entry = find(name)
    network = entry.build(classes=None, in_channels=None, resolution=None)
    complexity = count(network.module, network.input_shape)
    config = find_config(name)
    return Description(
        summary=Summary(
            name=name,
            family=entry.family,
            params=complexity.params,
            macs=complexity.macs,
            bits=complexity.bits,
            bit_operations=complexity.bit_operations,
            input_shape=network.input_shape,
        ),
        preprocessing=network.preprocessing,
        stages=() if config is None else tuple(stage_costs(config)),
        published=PUBLISHED.get(name),
    )
