"""The state of the device at one moment: what its counters, its fastest core and its hottest zone tell."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgeml.edge_bench.conditions.environment import temperature_c
from edgeml.edge_bench.conditions.throttling import Conditions, fastest_core_mhz, read_conditions
from edgeml.edge_bench.dataclass_json import restored


@dataclass(frozen=True, kw_only=True)
class DeviceState:
    """One reading.

    Attributes:
        conditions: the machine's counters.
        frequency_mhz: of the fastest core, which is one at work; None where it is not told.
        temperature_c: of the hottest thermal zone; None where there is none.
    """

    conditions: Conditions
    frequency_mhz: float | None
    temperature_c: float | None

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON; needs the standard library only, since devices write it."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: object) -> DeviceState:
        """Inverse of `to_json`.

        Raises:
            UsageError: the values are not those of a DeviceState.
        """
        return restored("the device's state", value, cls)


def read_state(root: Path = Path("/")) -> DeviceState:
    """The state of this machine now.

    Args:
        root: the file system's root; tests give another.
    """
    return DeviceState(
        conditions=read_conditions(root), frequency_mhz=fastest_core_mhz(root), temperature_c=temperature_c(root)
    )
